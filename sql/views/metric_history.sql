-- How does what was measured go on, and what was good enough?
-- Row key: quantum_id, metric, threshold_id.  A value that several thresholds hold for has a row for each; one that none holds for has one row, without a verdict.
-- Columns:
--   run               text              RUN collection
--   task_label        text              Label of the task in the pipeline
--   metric            text              Dotted name of the number
--   instrument        text              Camera
--   physical_filter   text              Filter
--   detector          integer           Detector
--   day_obs           integer           Night, YYYYMMDD of its evening
--   exposure          integer           Exposure
--   visit             integer           Visit
--   observed_tai      timestamp         Begin of the exposure, visit or night, TAI
--   measured_at       utc               When it was measured, UTC
--   value             double            The number
--   verdict           text              passed, warning or failure; NULL when it was not compared
--   fail_below        double            Bounds that it was compared with
--   warn_below        double            Likewise
--   warn_above        double            Likewise
--   fail_above        double            Likewise
--   quantum_id        uuid              Quantum that measured it
--   threshold_id      integer           What it was compared with
--   incident_id       uuid              What it led to
SELECT c.name AS run,
       k.label AS task_label,
       m.name AS metric,
       i.instrument,
       COALESCE(i.physical_filter, x.physical_filter, v.physical_filter) AS physical_filter,
       i.detector,
       COALESCE(i.day_obs, x.day_obs, v.day_obs) AS day_obs,
       i.exposure,
       i.visit,
       TAI_TIMESTAMP(COALESCE(x.begin_tai_ns, v.begin_tai_ns, n.begin_tai_ns)) AS observed_tai,
       q.finished_at AS measured_at,
       m.value,
       h.verdict,
       h.fail_below,
       h.warn_below,
       h.warn_above,
       h.fail_above,
       q.id AS quantum_id,
       h.threshold_id,
       h.incident_id
FROM quantum_metric AS m
JOIN quantum AS q ON q.id = m.quantum_id
JOIN task AS k ON k.id = q.task_id
JOIN collection AS c ON c.id = k.run_id
JOIN data_id AS i ON i.id = q.data_id
LEFT JOIN exposure AS x ON x.instrument = i.instrument AND x.id = i.exposure
LEFT JOIN visit AS v ON v.instrument = i.instrument AND v.id = i.visit
LEFT JOIN day_obs AS n ON n.instrument = i.instrument AND n.id = i.day_obs
LEFT JOIN (
    SELECT u.metric, u.fail_below, u.warn_below, u.warn_above, u.fail_above,
           p.quantum_id, p.threshold_id, p.verdict, p.incident_id
    FROM quality_check AS p
    JOIN quality_threshold AS u ON u.id = p.threshold_id
) AS h ON h.quantum_id = q.id AND h.metric = m.name
