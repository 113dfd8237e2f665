-- What the variables, evidences and events come to at every third hour, by plain SQL: an oracle,
-- independent of tocsin, for the demo's definitions.
set timezone='UTC'; set search_path=demo;
create materialized view v as select t now,
 (select coalesce(sum(amount),0) from bank_move where booked_at<=t) cash,
 (select coalesce(sum(amount),0) from invoice where issued_at<=t and paid_at>t) ar_open,
 (select coalesce(sum(amount),0) from invoice where due_at<=t and paid_at>t) ar_overdue,
 (select coalesce(max(a)/nullif(sum(a),0),0) from (select sum(amount) a from invoice where issued_at<=t and paid_at>t group by customer_id) z) top_debtor_share,
 (select coalesce(sum(amount),0) from bill where billed_at<=t and due_at>t and due_at<=t+interval '7 days') bills_7d,
 (select coalesce(-sum(amount),0) from bank_move where memo in('payroll','rent') and booked_at>t and booked_at<=t+interval '7 days') fixed_7d,
 (select count(*) from (select product_id from stock_move where moved_at<=t group by 1 having sum(qty)<=0) z) stockouts,
 (select coalesce(min(cover),99) from (select m.product_id, sum(qty) filter (where moved_at<=t)/nullif(-sum(qty) filter (where qty<0 and moved_at>t-interval '28 days' and moved_at<=t)/28.0,0) cover from stock_move m where m.product_id<=10 group by 1) z) top10_min_cover_days,
 (select coalesce(sum(qty*unit_price),0) from sale s join sale_line l on l.sale_id=s.id where ordered_at>t-interval '24 hours' and ordered_at<=t) revenue_24h,
 (select coalesce(sum(qty*unit_price),0)/4 from generate_series(1,4) w, sale s join sale_line l on l.sale_id=s.id where ordered_at>t-w*interval '7 days'-interval '24 hours' and ordered_at<=t-w*interval '7 days') revenue_usual_24h,
 (select count(*) from sale where ordered_at>t-interval '3 hours' and ordered_at<=t) orders_3h,
 (select count(*)/4.0 from generate_series(1,4) w, sale where ordered_at>t-w*interval '7 days'-interval '3 hours' and ordered_at<=t-w*interval '7 days') orders_usual_3h,
 (select coalesce(1-sum(qty*cost)/nullif(sum(qty*unit_price),0),0.35) from sale s join sale_line l on l.sale_id=s.id join product p on p.id=l.product_id where ordered_at>t-interval '6 hours' and ordered_at<=t) margin_6h,
 (select 1-sum(qty*cost)/sum(qty*unit_price) from sale s join sale_line l on l.sale_id=s.id join product p on p.id=l.product_id where ordered_at>t-interval '28 days' and ordered_at<=t) margin_28d,
 (select coalesce(min(unit_price/price),1) from sale s join sale_line l on l.sale_id=s.id join product p on p.id=l.product_id where ordered_at>t-interval '6 hours' and ordered_at<=t) deepest_discount_6h,
 (select count(*) from (select memo from bank_move where memo like 'bill %' and booked_at<=t and booked_at>t-interval '30 days' group by memo having count(*)>1) z) double_payments,
 (select count(*) from (select c.id from customer c join invoice i on i.customer_id=c.id where issued_at<=t and paid_at>t group by c.id,c.credit_limit having sum(amount)>c.credit_limit) z) over_limit_customers,
 (select extract(epoch from t-max(quoted_at))/3600 from fx_rate where quoted_at<=t) fx_age_h,
 (select count(*) from job_run where not ok and ran_at>t-interval '6 hours' and ran_at<=t) import_failures_6h,
 (select count(*) from (select ok<>lag(ok) over (order by ran_at) ch from job_run where ran_at>t-interval '24 hours' and ran_at<=t) z where ch) import_flips_24h,
 (select count(*) from ticket where opened_at<=t and closed_at>t) tickets_open,
 (select count(*)/28.0*1.2 from ticket where opened_at<=t and opened_at>t-interval '28 days') tickets_per_day,
 extract(isodow from t)<6 business_day, extract(hour from t at time zone 'UTC') as hour_of_day,
 (select coalesce(sum(amount),0) from invoice where issued_at>=date_trunc('month',t) and issued_at<=t) mtd_revenue,
 420000.0/30*extract(day from t)/10 mtd_plan
from generate_series(d(110),d(181),interval '3 hours') t;
create view ev as select now,
 cash < (bills_7d+fixed_7d)*1.1 low_liquidity, ar_overdue>0.25*ar_open overdue_heavy, top_debtor_share>0.28 concentrated, stockouts>=3 stocked_out, top10_min_cover_days<1.5 thin_cover,
 revenue_24h<0.6*revenue_usual_24h revenue_down, orders_3h<0.35*orders_usual_3h orders_dried_up, orders_usual_3h>=6 busy_hours, margin_6h<margin_28d-0.12 margin_collapsed, deepest_discount_6h<0.5 absurd_price,
 double_payments>0 paid_twice, over_limit_customers>=8 credit_loose, fx_age_h>30 fx_stale, import_failures_6h>=2 import_failing, import_flips_24h>=6 import_flapping, tickets_open>3*tickets_per_day backlog, business_day, hour_of_day between 8 and 19 as office_hours, mtd_revenue<0.8*mtd_plan behind_plan, cash<0 overdrawn from v;
create view fire as select e.name, now, x from ev, lateral (values
 ('liquidity_crisis',low_liquidity),('overdraft',overdrawn),('debtor_risk',overdue_heavy and concentrated),('stockout_risk',stocked_out or thin_cover),
 ('shop_silent',orders_dried_up and busy_hours and business_day),('price_error',absurd_price and margin_collapsed),('double_payment',paid_twice),
 ('credit_exposure',credit_loose),('stale_rates',fx_stale),('import_unreliable',import_failing and import_flapping),('support_backlog',backlog),('behind_plan',behind_plan and office_hours)) e(name,x);
