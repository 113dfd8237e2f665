-- Why an open cycle does not go on, though nothing is wrong in the books: as the
-- agent or a worker saw it last, such as a queue that takes no more messages.

alter table tocsin.run
	add column trouble text,		-- null: nothing is known of any
	add column trouble_at timestamptz;	-- when it was seen last
