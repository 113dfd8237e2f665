-- The books of tocsin.
--
-- Definitions are immutable rows of tocsin.version; variable, evidence, event and
-- reaction carry the current mark and the standing value or state.  A run is
-- planned into run and job and keeps the versions it was planned with.  All
-- times are the database's clock, in UTC.

create table tocsin.installation (
	one boolean primary key default true check (one),
	uuid uuid not null,
	created_at timestamptz not null default now()
);

create table tocsin.version (
	id bigint generated always as identity primary key,
	kind text not null check (kind in ('variable', 'evidence', 'event', 'reaction')),
	name text not null,
	hash text not null,			-- SHA-256 of the canonical body
	body jsonb not null,			-- the keys that were given, as in the file
	upstream text[] not null default '{}',	-- the free names of the definition
	loaded_at timestamptz not null default now(),
	loaded_by text not null default session_user
);
create index version_name on tocsin.version (kind, name, id);
comment on table tocsin.version is 'every definition that was ever loaded and is still needed; never changed';

create table tocsin.variable (
	id integer generated always as identity primary key,
	name text not null unique,
	version bigint not null references tocsin.version,
	active boolean not null default true,
	value jsonb,				-- null: never computed
	run_id bigint,
	computed_at timestamptz
) with (fillfactor = 70);

create table tocsin.evidence (
	id integer generated always as identity primary key,
	name text not null unique,
	version bigint not null references tocsin.version,
	active boolean not null default true,
	value jsonb,
	bool_value boolean,			-- the truth; null: none yet
	run_id bigint,
	evaluated_at timestamptz
) with (fillfactor = 70);

create sequence tocsin.schedule;

create table tocsin.event (
	id integer generated always as identity primary key,
	name text not null unique,
	version bigint not null references tocsin.version,
	agent text not null default 'default',
	priority integer not null default 10,
	active boolean not null default true,
	state text not null default 'not_raising' check (state in ('not_raising', 'raising')),
	action text not null default 'do_nothing'
		check (action in ('do_nothing', 'raise', 'continue_raising', 'stop_raising')),
	hold integer not null default 0,	-- consecutive true evaluations
	next_call timestamptz not null,
	dtstart timestamptz not null,		-- given, or when this schedule was loaded
	schedule bigint not null default nextval('tocsin.schedule'),	-- another with each changed schedule
	run_id bigint,
	evaluated_at timestamptz
) with (fillfactor = 70);

create table tocsin.reaction (
	id integer generated always as identity primary key,
	name text not null unique,
	version bigint not null references tocsin.version,
	active boolean not null default true
);

create table tocsin.run (
	id bigint generated always as identity primary key,
	kind text not null default 'cycle' check (kind in ('cycle')),
	agent text not null,
	state text not null default 'CREATED'
		check (state in ('CREATED', 'STARTED', 'ERRORED', 'DONE', 'DONE_WITH_ERRORS')),
	origin text unique,			-- a door that asks twice makes one run
	as_of timestamptz not null,		-- T
	created_at timestamptz not null default now(),
	started_at timestamptz,			-- all first messages confirmed
	finished_at timestamptz,
	written_at timestamptz not null default now(),
	jobs integer not null default 0,
	unsettled integer not null default 0,	-- jobs that are not terminal yet
	failed integer not null default 0
) with (fillfactor = 70);
-- At most one open cycle per agent name.
create unique index run_open on tocsin.run (agent)
	where kind = 'cycle' and state in ('CREATED', 'STARTED', 'ERRORED');
create index run_finished on tocsin.run (finished_at);

-- The nodes of a run's graph, numbered within it: variables, then evidences,
-- then events, the urgent first.
create table tocsin.job (
	run_id bigint not null,
	id integer not null,
	kind text not null check (kind in ('variable', 'evidence', 'event')),
	name text not null,
	version bigint not null,
	queue text not null,
	active boolean not null default true,
	state text not null check (state in ('waiting', 'queued', 'running', 'done', 'failed', 'skipped')),
	reason text check (reason in ('ok', 'error', 'exit', 'signal', 'timeout', 'lost', 'refused', 'upstream', 'expired')),
	attempts integer not null default 0,
	fence integer not null default 0,	-- rises with each claim, never falls
	worker text,
	lease_until timestamptz,
	alone boolean not null default false,	-- its last claim ended with its worker
	resends integer not null default 0,
	resend_at timestamptz,			-- not sent again before
	error text,
	upstream integer[] not null default '{}',
	downstream integer[] not null default '{}',
	unsettled integer not null,		-- upstream jobs, while it waits
	succeeded boolean not null default false,	-- one of them, in this run
	value jsonb,				-- as it stood at the plan; then its own
	truth boolean,
	computed_at timestamptz,
	event integer,				-- the event's row, at the plan
	schedule bigint,			-- and its schedule
	reactions bigint[] not null default '{}',	-- their versions, at the plan
	queued_at timestamptz,
	started_at timestamptz,
	finished_at timestamptz,
	primary key (run_id, id)
) with (fillfactor = 70);

create table tocsin.history (
	run_id bigint not null,
	kind text not null,
	name text not null,
	value jsonb,
	truth boolean,
	at timestamptz not null default now()
) partition by range (at);
create index history_name on tocsin.history (name, kind, at);

create table tocsin.signal (
	run_id bigint not null,
	event text not null,
	action text not null check (action in ('raise', 'continue_raising', 'stop_raising')),
	at timestamptz not null default now(),
	version bigint not null,
	hold integer not null,
	decided_by jsonb not null,		-- evidences, values and their ages
	primary key (run_id, event)
);
create index signal_event on tocsin.signal (event, at);

create table tocsin.delivery (
	id bigint generated always as identity primary key,
	run_id bigint not null,
	event text not null,
	reaction text not null,
	version bigint not null,
	key uuid not null unique default gen_random_uuid(),	-- idempotency key
	state text not null default 'pending'
		check (state in ('pending', 'sending', 'delivered', 'failed')),
	attempts integer not null default 0,
	fence integer not null default 0,
	worker text,
	lease_until timestamptz,
	due_at timestamptz not null default now(),
	error text,
	delivered_at timestamptz,
	unique (run_id, event, reaction),
	foreign key (run_id, event) references tocsin.signal
);
create index delivery_failed on tocsin.delivery (due_at) where state = 'failed';
create index delivery_due on tocsin.delivery (due_at) where state in ('pending', 'sending');

-- Make the partition of history that AT falls into, if it is not there.  Its
-- own function, so that a role without the right to create tables can call it.
create function tocsin.history_partition(at timestamptz) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
	day date := (at at time zone 'UTC')::date;
	part text := 'history_' || to_char(day, 'YYYYMMDD');
begin
	if to_regclass('tocsin.' || part) is not null then
		return;
	end if;
	perform pg_advisory_xact_lock(hashtext('tocsin.history_partition'));
	if to_regclass('tocsin.' || part) is not null then
		return;
	end if;
	-- Made beside and then attached: that waits for no reader of history.
	execute format('create table tocsin.%I (like tocsin.history including defaults)', part);
	execute format('alter table tocsin.history attach partition tocsin.%I for values from (%L) to (%L)',
		part, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
end
$$;
revoke all on function tocsin.history_partition(timestamptz) from public;
