-- Who loaded what, and when.  Rows are only ever added: a role that works with the
-- books is given no more than that, and not even the columns that say when and
-- by which login.  Bodies are kept, for versions go when nothing needs them.

create table tocsin.audit (
	id bigint generated always as identity primary key,
	at timestamptz not null default now(),	-- one instant for all of a load
	loaded_by text not null default session_user,
	address inet default inet_client_addr(),	-- null: by a Unix socket
	os_user text,				-- as the program says, like the host
	host text,
	file text,				-- null: what is removed
	kind text not null check (kind in ('variable', 'evidence', 'event', 'reaction')),
	name text not null,
	change text not null check (change in ('added', 'changed', 'removed')),
	hash text,				-- null: what is removed
	body jsonb
);
create index audit_name on tocsin.audit (kind, name, id);
comment on table tocsin.audit is 'every change of a definition, who made it and when; only ever added to';

insert into tocsin.audit (at, loaded_by, address, kind, name, change, hash, body)
select loaded_at, loaded_by, null, kind, name,
	case when lag(id) over (partition by kind, name order by id) is null
		then 'added' else 'changed' end, hash, body
from tocsin.version order by id;
