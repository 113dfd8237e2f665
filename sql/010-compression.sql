-- What decided a signal is some KiB of text that is compressed in the transaction that
-- all of the cycle waits for.  A server that was built without lz4 goes on with pglz.
do $$
begin
	alter table tocsin.signal alter column decided_by set compression lz4;
exception
	when feature_not_supported then
		null;
end
$$;
