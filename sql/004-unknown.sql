-- What is too old to count: a variable's value has the instant that it is of, and
-- its definition may say how far a cycle may lie behind that; an event has the
-- instant of its last evaluation, so that a gap behind it is seen.

alter table tocsin.version add column max_age interval;		-- of a variable; null: any

alter table tocsin.variable add column as_of timestamptz;	-- T of the cycle that computed the value
update tocsin.variable x
	set as_of = coalesce((select r.as_of from tocsin.run r where r.id = x.run_id), x.computed_at);

alter table tocsin.job
	add column as_of timestamptz,		-- of a variable: T of the cycle its value is from
	add column stale boolean not null default false,	-- that value, at the plan, was too old
	add column note text;			-- what else there is to say

alter table tocsin.event add column as_of timestamptz;		-- the latest T of its evaluations
update tocsin.event e set as_of = (select r.as_of from tocsin.run r where r.id = e.run_id);
