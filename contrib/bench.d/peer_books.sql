-- The tables of the peers: the same graph, and no history.

create schema peer;

create table peer.cycle (
	id bigint generated always as identity primary key,
	created_at timestamptz not null default now(),
	state text not null default 'STARTED',
	failed integer not null default 0
);

-- "runs" counts the executions in the cycle that the row was last written by.

create table peer.variable (
	id integer primary key,
	query text not null,
	value double precision not null default 1,
	cycle bigint,
	runs integer not null default 0
);

create table peer.evidence (
	id integer primary key,
	definition text not null,
	operator text not null default '>',
	operand double precision not null,
	value double precision,
	truth boolean not null default false,
	cycle bigint,
	runs integer not null default 0
);

create table peer.event (
	id integer primary key,
	definition text not null,
	priority integer not null default 10,
	next_call timestamptz not null default now(),
	state text not null default 'not_raising',
	action text not null default 'do_nothing',
	cycle bigint,
	runs integer not null default 0,
	evaluated_at timestamptz
);

create table peer.evidence_use (
	evidence integer not null references peer.evidence,
	variable integer not null references peer.variable,
	primary key (evidence, variable)
);
create index on peer.evidence_use (variable);

create table peer.event_use (
	event integer not null references peer.event,
	evidence integer not null references peer.evidence,
	primary key (event, evidence)
);
create index on peer.event_use (evidence);

-- Only the batch with history writes here, as tocsin does.
create table peer.history (
	cycle bigint not null,
	kind text not null,
	name text not null,
	value jsonb,
	truth boolean,
	at timestamptz not null default now()
);
create index on peer.history (name, kind, at);
