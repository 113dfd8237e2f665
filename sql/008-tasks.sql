-- Tasks of Celery's clients write no books but for what must outlive the worker
-- that has heard of it: those that are not due yet, and those that are revoked.

create table tocsin.delayed_task (
	id bigint generated always as identity primary key,
	task_id text not null,
	retries integer not null,
	task text not null,
	queue text not null,			-- where it is sent when it is due
	due_at timestamptz not null,
	lease_until timestamptz,		-- somebody is sending it
	properties json not null,		-- of the message, its headers among them
	body text not null,
	unique (task_id, retries)
);
create index delayed_task_due on tocsin.delayed_task (due_at);
comment on table tocsin.delayed_task is 'tasks of Celery clients that wait for their eta';

create table tocsin.revoked_task (
	id text primary key,
	at timestamptz not null default now()
);
create index revoked_task_at on tocsin.revoked_task (at);
comment on table tocsin.revoked_task is 'ids of Celery tasks that are not to run any more; kept for three hours';
