-- The books of a small wholesale shop, half a year of them, with eight incidents written in.
-- Deterministic: all chance is md5 of a key.  About 3.5 MB, two seconds.
set timezone='UTC';	-- weekdays, months and "27 days" are those of the session's time zone
create schema demo; set search_path=demo;
create function rnd(k text) returns float8 language sql immutable as
 $$select ('x'||substr(md5(k),1,8))::bit(32)::bigint/4294967296.0$$;
create function d(n float8) returns timestamptz language sql immutable as
 $$select timestamptz '2026-01-05 00:00+00' + n*interval '1 day'$$;
create table product as select i id, 'SKU-'||lpad(i::text,3,'0') sku,
 (array['tools','lighting','garden','paint'])[1+(i-1)/10] category,
 round((4+46*rnd('c'||i))::numeric,2) cost, round(((4+46*rnd('c'||i))*(1.45+0.3*rnd('p'||i)))::numeric,2) price,
 1+i%8 supplier_id from generate_series(1,40) i;
create table customer as select i id,'Customer '||i as name, 1800+round(9000*rnd('cl'||i)) credit_limit from generate_series(1,120) i;
update customer set credit_limit=120000 where id=7;
create table sale as
 select row_number() over (order by at) id, at ordered_at, case when rnd('b'||k)<0.15 then 7 else 1+floor(120*rnd('u'||k)^1.6)::int end customer_id
 from (select dd||'-'||n k, d(dd+(8+11*rnd('h'||dd||'-'||n))/24) at, dd from generate_series(0,181) dd,
   generate_series(1,60) n where n <= (case when extract(isodow from d(dd))<6 then 34 else 9 end)*(1+0.0015*dd)*(0.85+0.3*rnd('v'||dd))) s
 where not (dd=170 and extract(hour from at at time zone 'UTC') between 9 and 16);      -- incident: web shop down
create table sale_line as
 select s.id sale_id, p.id product_id, 1+floor(5*rnd('q'||s.id||'-'||l))::int qty,
  round((p.price*(0.95+0.1*rnd('x'||s.id||'-'||l))*case when p.category='lighting' and s.ordered_at between d(160+9/24.) and d(160+15/24.) then 0.05 else 1 end)::numeric,2) unit_price
 from sale s, lateral generate_series(1,1+floor(3*rnd('l'||s.id))::int) l, lateral (select * from product where id=1+floor(40*rnd('r'||s.id||'-'||l)^1.5)::int) p;
create table invoice as select s.id, s.customer_id, s.ordered_at issued_at, s.ordered_at+interval '30 days' due_at, sum(qty*unit_price) amount,
  case when s.customer_id=7 and s.ordered_at+interval '30 days' between d(120) and d(171) then d(172+rnd('y'||s.id)/4)   -- incident: the big customer stops paying
       else s.ordered_at+interval '30 days'+(17*rnd('y'||s.id)-6)*interval '1 day' end paid_at
 from sale s join sale_line l on l.sale_id=s.id group by s.id,s.customer_id,s.ordered_at;
create table stock_move as select product_id, s.ordered_at moved_at, -qty qty from sale_line l join sale s on s.id=l.sale_id
 union all select id, d(-1), 130 from product
 union all select l.product_id, case when p.supplier_id=4 and w between 19 and 21 then d(155) else d(w*7+0.3) end, sum(l.qty)   -- incident: supplier 4 is three weeks late
  from generate_series(1,25) w, sale s, sale_line l, product p where l.sale_id=s.id and p.id=l.product_id and s.ordered_at>=d(w*7-7) and s.ordered_at<d(w*7) group by 1,2,w,p.supplier_id;
create table bill as select row_number() over (order by 2,1) id,* from (select p.supplier_id, m.moved_at billed_at, m.moved_at+interval '14 days' due_at, round(sum(m.qty*p.cost),2) amount
  from stock_move m join product p on p.id=m.product_id where m.qty>0 and m.moved_at>d(0) group by 1,2) z;
create table bank_move as
 select paid_at booked_at, amount, 'invoice '||id memo from invoice
 union all select due_at, -amount, 'bill '||id from bill
 union all select d(174.5), -amount, 'bill '||id from bill where due_at between d(168) and d(170)          -- incident: three bills paid twice
 union all select d(-1), 185000, 'opening'
 union all select m+interval '27 days 6 hours', -60000, 'payroll' from generate_series(d(-4),d(180),interval '1 month') m
 union all select m+interval '4 days', -9800, 'rent' from generate_series(d(-4),d(180),interval '1 month') m;
create table fx_rate as select d(n+0.25) quoted_at, 1.08+0.02*sin(n/9.0) eur_usd from generate_series(0,181) n where n not in (166,167,168);  -- incident: feed silent
create table job_run as select d(h/24.) ran_at, 'order_import' job, not (h/24 in (125,126) and h%2=0) and rnd('j'||h)>0.003 ok from generate_series(0,181*24) h; -- incident: flapping import
create table ticket as select dd*10+n id, d(dd+0.3+0.4*rnd('t'||dd||n)) opened_at, d(dd+0.3+0.4*rnd('t'||dd||n)+0.3+1.2*rnd('w'||dd||n)+case when dd between 157 and 164 then 8 else 0 end) closed_at
 from generate_series(0,181) dd, generate_series(1,9) n where rnd('z'||dd||n)<0.55;
create index on sale(ordered_at); create index on sale_line(sale_id); create index on stock_move(product_id,moved_at); create index on bank_move(booked_at); create index on invoice(issued_at); analyze;
