-- What must somebody look after?
-- Row key: incident_id.  Incidents that are not closed, with what was measured of each.
-- Columns:
--   incident_id       uuid              The incident
--   kind              text              What raised it
--   severity          text              warning or failure
--   state             text              open, or acknowledged: somebody looks after it
--   subject           text              What it is about: task, metric, camera, detector
--   n_seen            integer           How often it was found
--   opened_at         utc               When it was found first, UTC
--   last_seen_at      utc               When it was found last, UTC
--   acknowledged_by   text              Who looks after it
--   note              text              What they said
--   n_values          integer           Values that led to it and are still there
--   min_value         double            The smallest of them
--   max_value         double            The largest of them
SELECT i.id AS incident_id,
       i.kind,
       i.severity,
       i.state,
       i.subject,
       i.n_seen,
       i.opened_at,
       i.last_seen_at,
       i.acknowledged_by,
       i.note,
       COALESCE(v.n_values, 0) AS n_values,
       v.min_value,
       v.max_value
FROM incident AS i
LEFT JOIN (
    SELECT k.incident_id,
           COUNT(*) AS n_values,
           MIN(k.value) AS min_value,
           MAX(k.value) AS max_value
    FROM quality_check AS k
    JOIN incident AS j ON j.id = k.incident_id
    WHERE j.state IN ('open', 'acknowledged')
    GROUP BY k.incident_id
) AS v ON v.incident_id = i.id
WHERE i.state IN ('open', 'acknowledged')
