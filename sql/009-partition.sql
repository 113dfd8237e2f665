-- Who waits for another to make the partition may still believe that it is not
-- there: a wait for an advisory lock brings no news of the catalog.
create or replace function tocsin.history_partition(at timestamptz) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
	day date := (at at time zone 'UTC')::date;
	part text := 'history_' || to_char(day, 'YYYYMMDD');
begin
	if to_regclass('tocsin.' || part) is not null then
		return;
	end if;
	perform pg_advisory_xact_lock(hashtext('tocsin.history_partition'));
	-- Made beside and then attached: that waits for no reader of history.
	begin
		execute format('create table tocsin.%I (like tocsin.history including defaults)', part);
	exception
		when duplicate_table then
			return;
	end;
	execute format('alter table tocsin.history attach partition tocsin.%I for values from (%L) to (%L)',
		part, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
end
$$;
