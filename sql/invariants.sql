-- What must hold in the books at any time, whatever has happened: each query
-- finds the breaches of the promise above it, and no rows is what is wanted.
-- "tocsin doctor" asks them; by hand, over all runs:
--
--     psql -v since=0 -f invariants.sql
--
-- :since is the first run to look at.  A promise begins with "--:".

--: a closed run has no open job
select r.id, r.state, j.kind, j.name, j.state
  from tocsin.run r join tocsin.job j on j.run_id = r.id
 where r.id >= :since and r.state not in ('CREATED', 'STARTED', 'ERRORED')
   and j.state in ('waiting', 'queued', 'running');

--: a run of whose jobs none is open is closed
select id, state from tocsin.run r
 where id >= :since and state in ('CREATED', 'STARTED', 'ERRORED')
   and not exists (select from tocsin.job j
                    where j.run_id = r.id and j.state in ('waiting', 'queued', 'running'));

--: a run counts its jobs, the unsettled and the failed
select r.id, r.jobs, r.unsettled, r.failed, c.*
  from tocsin.run r cross join lateral (
       select count(*) as jobs,
              count(*) filter (where state in ('waiting', 'queued', 'running')) as unsettled,
              count(*) filter (where state = 'failed') as failed
         from tocsin.job j where j.run_id = r.id) c
 where r.id >= :since and (r.jobs, r.unsettled, r.failed) <> (c.jobs, c.unsettled, c.failed);

--: a run's state tells whether something failed
select id, state, failed, finished_at from tocsin.run
 where id >= :since and (state = 'DONE' and failed > 0 or state = 'DONE_WITH_ERRORS' and failed = 0
    or state = 'ERRORED' and failed = 0
    or state in ('CREATED', 'STARTED') and failed > 0
    or (finished_at is null) <> (state in ('CREATED', 'STARTED', 'ERRORED')));

--: an agent has one open cycle
select agent from tocsin.run where id >= :since and state in ('CREATED', 'STARTED', 'ERRORED')
 group by 1 having count(*) > 1;

--: a variable, evidence or event is one job of its run
select run_id, kind, name from tocsin.job where run_id >= :since
 group by 1, 2, 3 having count(*) > 1;

--: a job that waits knows how many upstream are unsettled
select j.run_id, j.name, j.unsettled, j.succeeded, u.*
  from tocsin.job j cross join lateral (
       select count(*) filter (where u.state in ('waiting', 'queued', 'running')) as n,
              coalesce(bool_or(u.state = 'done'), false) as ok
         from tocsin.job u where u.run_id = j.run_id and u.id = any (j.upstream)) u
 where j.run_id >= :since and j.state = 'waiting'
   and (j.unsettled, j.succeeded) <> (u.n, u.ok);

--: no job waits whose upstream is settled
select run_id, kind, name from tocsin.job
 where run_id >= :since and state = 'waiting' and unsettled <= 0;

--: an edge has two ends
select j.run_id, j.name, u.name from tocsin.job j
  join tocsin.job u on u.run_id = j.run_id and u.id = any (j.upstream)
 where j.run_id >= :since and not j.id = any (u.downstream)
union all
select j.run_id, j.name, d.name from tocsin.job j
  join tocsin.job d on d.run_id = j.run_id and d.id = any (j.downstream)
 where j.run_id >= :since and not j.id = any (d.upstream);

--: a state has its reason
select run_id, kind, name, state, reason, error from tocsin.job
 where run_id >= :since and (state = 'done' and (reason, coalesce(error, '')) <> ('ok', '')
    or state = 'failed' and (reason in ('ok', 'upstream') or coalesce(error, '') = '')
    or state in ('done', 'failed', 'skipped') and reason is null
    or (finished_at is null) <> (state in ('waiting', 'queued', 'running')));

--: only what runs is leased
select run_id, kind, name, state from tocsin.job
 where run_id >= :since and (lease_until is not null) <> (state = 'running');

--: what was settled was claimed, and what was skipped for its upstream was not
select run_id, kind, name, state, attempts, fence from tocsin.job
 where run_id >= :since and (state in ('done', 'failed') and attempts < 1
    or attempts > 3 or fence < attempts
    or state = 'skipped' and reason = 'upstream' and attempts > 0);

--: nothing was evaluated without an input that succeeded
select j.run_id, j.kind, j.name, j.state from tocsin.job j
  join tocsin.version v on v.id = j.version
 where j.run_id >= :since and cardinality(j.upstream) > 0 and j.state <> 'waiting'
   and j.reason is distinct from 'expired'
   and not (j.state <> 'skipped' and v.body ->> 'on_unknown' in ('raise', 'clear'))
   and (j.state = 'skipped' and j.reason = 'upstream') = exists (
       select from tocsin.job u where u.run_id = j.run_id
          and u.id = any (j.upstream) and u.state = 'done');

--: what is stale is not computed, and makes its evidences unknown
select j.run_id, j.kind, j.name, j.state, j.reason from tocsin.job j
 where j.run_id >= :since
   and (j.stale and (j.kind <> 'variable' or j.state = 'done' or j.computed_at is null)
    or j.reason = 'expired' and ((j.state, j.kind) <> ('skipped', 'evidence')
       or j.truth is not null)
    or j.kind = 'evidence' and j.state in ('done', 'failed', 'skipped')
       and cardinality(j.upstream) > 0 and (j.reason = 'expired') <> exists (
       select from tocsin.job u where u.run_id = j.run_id
          and u.id = any (j.upstream) and u.stale));

--: an evidence was evaluated after all of its variables
select j.run_id, j.name from tocsin.job j
  join tocsin.job u on u.run_id = j.run_id and u.id = any (j.upstream)
 where j.run_id >= :since and j.kind = 'evidence' and (j.started_at < u.finished_at
    or j.started_at is not null and u.finished_at is null);

--: history has what was done, once
select run_id, kind, name, count(h.run_id) from tocsin.job j
  left join tocsin.history h using (run_id, kind, name)
 where run_id >= :since
 group by run_id, kind, name, j.state
having count(h.run_id) <> case when j.state = 'done' then 1 else 0 end;

--: history has what its job came to
select run_id, kind, name, h.value, j.value, h.truth, j.truth
  from tocsin.job j join tocsin.history h using (run_id, kind, name)
 where run_id >= :since and (h.value, h.truth) is distinct from (j.value, j.truth);

--: a standing value is that of the run that is named
select x.name, x.run_id, x.value, j.value from tocsin.variable x
  join tocsin.job j on j.run_id = x.run_id and j.name = x.name and j.kind = 'variable'
 where x.run_id >= :since and (j.state <> 'done' or x.value is distinct from j.value)
union all
select x.name, x.run_id, x.value, j.value from tocsin.evidence x
  join tocsin.job j on j.run_id = x.run_id and j.name = x.name and j.kind = 'evidence'
 where x.run_id >= :since and (j.state <> 'done'
    or (x.value, x.bool_value) is distinct from (j.value, j.truth));

--: a signal comes from an event that was evaluated
select s.run_id, s.event, s.action from tocsin.signal s
  left join tocsin.job j on j.run_id = s.run_id and j.name = s.event
       and j.kind = 'event'
 where s.run_id >= :since and (j.state is distinct from 'done' or j.truth is null
    or j.truth and s.action = 'stop_raising'
    or not j.truth and s.action <> 'stop_raising' or s.version <> j.version);

--: an event's last action has its signal
select e.name, e.action, e.run_id, s.action from tocsin.event e
  left join tocsin.signal s on s.run_id = e.run_id and s.event = e.name
 where e.run_id >= :since and e.action is distinct from
       coalesce(s.action, 'do_nothing');

--: an event that raises is raising, and one that stops is not
select e.name, e.state, e.action from tocsin.event e
  join tocsin.version v on v.id = e.version
 where e.run_id >= :since and v.body ->> 'rrule' is null and
       (e.action in ('raise', 'continue_raising') and e.state <> 'raising'
    or e.action = 'stop_raising' and e.state <> 'not_raising');

--: signals of a basic event alternate as they should
select * from (
    -- in their order by the clock, or by their cycles where it was set back
    select s.event, s.run_id, s.action,
           lag(s.action) over (partition by s.event order by s.at, s.run_id) as before,
           lag(s.action) over (partition by s.event order by s.run_id) as planned_before
      from tocsin.signal s join tocsin.version v on v.id = s.version
     where s.run_id >= :since and v.body ->> 'rrule' is null) x
 where action = 'raise' and before in ('raise', 'continue_raising')
       and planned_before in ('raise', 'continue_raising')
    or action <> 'raise' and (before = 'stop_raising' or before is null and :since = 0
       and exists (select from tocsin.run where id = 1))
       and (planned_before = 'stop_raising' or planned_before is null and :since = 0);	-- else the first ones are pruned

--: a signal has the deliveries that were planned, and none else
select coalesce(p.run_id, d.run_id), coalesce(p.event, d.event), p.name, d.reaction
  from (select s.run_id, s.event, v.name, v.id from tocsin.signal s
          join tocsin.job j on j.run_id = s.run_id and j.name = s.event
               and j.kind = 'event'
          join tocsin.version v on v.id = any (j.reactions)
         where s.run_id >= :since
           and coalesce(v.body -> 'on', '["raise", "stop_raising"]') ? s.action) p
  full join (select * from tocsin.delivery where run_id >= :since) d
    on d.run_id = p.run_id and d.event = p.event and d.version = p.id
 where p.run_id is null or d.run_id is null;

--: a delivery is settled or scheduled
select id, state, attempts, error, delivered_at, lease_until from tocsin.delivery
 where run_id >= :since and ((state = 'delivered') <> (delivered_at is not null)
    or state = 'failed' and error is null
    or state = 'sending' and lease_until is null
    or state <> 'sending' and lease_until is not null);
