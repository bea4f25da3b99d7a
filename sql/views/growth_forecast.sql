-- How large will the archive be in 30, 90 and 365 days, if it goes on as in the last 90?
-- Row key: horizon_days.
-- A straight line is fitted (least squares) to the totals of the days with new data; rates are NULL with one day only.
-- Columns:
--   horizon_days      integer   [d]        Days after the last day with new data
--   forecast_tai_ns   integer   [ns]       0h TAI of the day foretold, since 1970
--   forecast_tai      timestamp            The same as forecast_tai_ns
--   n_days            integer              Days with new data that the line was fitted to
--   datasets_per_day  double    [1/d]      Slope of the total number of datasets
--   bytes_per_day     double    [byte/d]   Slope of the total size
--   total_datasets    double               Datasets foretold: the last total plus slope times days
--   total_bytes       double    [byte]     Bytes foretold, likewise
WITH latest AS (
    SELECT day_begin_tai_ns, total_datasets, total_bytes
    FROM growth
    WHERE day_begin_tai_ns = (SELECT MAX(day_begin_tai_ns) FROM growth)
), recent AS (
    SELECT CAST(g.day_begin_tai_ns - l.day_begin_tai_ns AS DOUBLE PRECISION) / 86400000000000 AS x,
           CAST(g.total_datasets AS DOUBLE PRECISION) AS n,
           CAST(g.total_bytes AS DOUBLE PRECISION) AS b
    FROM growth AS g
    CROSS JOIN latest AS l
    WHERE g.day_begin_tai_ns > l.day_begin_tai_ns - 90 * 86400000000000
), sums AS (
    SELECT COUNT(*) AS c, SUM(x) AS x, SUM(x * x) AS xx, SUM(n) AS n, SUM(x * n) AS xn,
           SUM(b) AS b, SUM(x * b) AS xb
    FROM recent
), slopes AS (
    SELECT c AS n_days,
           (c * xn - x * n) / NULLIF(c * xx - x * x, 0) AS datasets_per_day,
           (c * xb - x * b) / NULLIF(c * xx - x * x, 0) AS bytes_per_day
    FROM sums
), horizons AS (
    SELECT 30 AS days UNION ALL SELECT 90 UNION ALL SELECT 365
)
SELECT h.days AS horizon_days,
       l.day_begin_tai_ns + h.days * 86400000000000 AS forecast_tai_ns,
       TAI_TIMESTAMP(l.day_begin_tai_ns + h.days * 86400000000000) AS forecast_tai,
       s.n_days,
       s.datasets_per_day,
       s.bytes_per_day,
       l.total_datasets + h.days * s.datasets_per_day AS total_datasets,
       l.total_bytes + h.days * s.bytes_per_day AS total_bytes
FROM horizons AS h
CROSS JOIN latest AS l
CROSS JOIN slopes AS s
