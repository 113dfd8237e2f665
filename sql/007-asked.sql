-- A variable that is a task of somebody else's Celery worker runs without a worker
-- of ours: it was asked for, and its lease ends when the answer is overdue.

alter table tocsin.job
	add column asked_at timestamptz,		-- null: it is not asked for at present
	add column asks integer not null default 0;	-- how often it was
