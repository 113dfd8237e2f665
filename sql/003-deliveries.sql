-- Deliveries travel as messages: a pending one has a time before which no message
-- of it is sent again.  Those of one event to one reaction leave in their order,
-- so the oldest that is open must be found at once.

alter table tocsin.delivery add column resend_at timestamptz not null default now();
create index delivery_order on tocsin.delivery (event, reaction, id)
	where state in ('pending', 'sending');
create index delivery_resend on tocsin.delivery (resend_at) where state = 'pending';
create index delivery_lease on tocsin.delivery (lease_until) where state = 'sending';
