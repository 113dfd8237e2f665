-- Views in schema public that carry the names and columns of the system whose
-- queries people already have.  Where something else bears a name, it is left
-- alone; where there is no schema public, nobody would find them, and where
-- this role may make nothing there, they are left to somebody who may.

create function tocsin.public_view(name text, query text) returns void
language plpgsql as $$
begin
	if to_regnamespace('public') is null or
	    not has_schema_privilege('public', 'create') then
		return;
	end if;
	if to_regclass('public.' || quote_ident(name)) is null then
		execute format('create view public.%I with (security_barrier) as %s', name, query);
	end if;
end
$$;

select tocsin.public_view('cdr_evaluation_cycle', $view$
	select id, 1 as create_uid, created_at as create_date,
		written_at as write_date, 1 as write_uid, state
	from tocsin.run
	where kind = 'cycle'
$view$);

select tocsin.public_view('cdr_control_variable', $view$
	select x.id, x.name, v.body ->> 'description' as description,
		x.value #>> '{}' as value, x.run_id as cycle, x.active
	from tocsin.variable x
	join tocsin.version v on v.id = x.version
$view$);

select tocsin.public_view('cdr_evidence', $view$
	select x.id, x.name, v.body ->> 'description' as description,
		v.body ->> 'definition' as definition, v.body ->> 'operator' as operator,
		v.body ->> 'operand' as operand, x.value #>> '{}' as value,
		x.bool_value, x.run_id as cycle, x.active
	from tocsin.evidence x
	join tocsin.version v on v.id = x.version
$view$);

select tocsin.public_view('cdr_system_event', $view$
	select x.id, x.name, v.body ->> 'definition' as definition, x.next_call,
		x.priority, x.active, x.state, x.action
	from tocsin.event x
	join tocsin.version v on v.id = x.version
$view$);

select tocsin.public_view('cdr_history', $view$
	select name as identifier, run_id as cycle,
		coalesce(value #>> '{}', truth::text) as value
	from tocsin.history
	where kind = 'variable' or kind = 'evidence'
$view$);

drop function tocsin.public_view(text, text);
