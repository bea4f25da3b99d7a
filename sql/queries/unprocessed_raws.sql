-- Which science exposures have raw frames that a run has not calibrated?
-- Asked by: operations, who submit the next processing
-- Reads: whole tables
-- Parameters:
--   run  text  demo/again  RUN collection of the processing
SELECT x.day_obs, x.physical_filter, COUNT(*) AS n_frames, COUNT(DISTINCT x.id) AS n_exposures
FROM exposure AS x
JOIN data_id AS i ON i.instrument = x.instrument AND i.exposure = x.id
JOIN dataset AS d ON d.data_id = i.id
JOIN dataset_type AS t ON t.id = d.dataset_type_id AND t.name = 'raw'
WHERE x.observation_type = 'science'
  AND NOT EXISTS (
      SELECT 1
      FROM dataset AS m
      JOIN collection AS c ON c.id = m.run_id AND c.name = :run
      JOIN dataset_type AS mt ON mt.id = m.dataset_type_id AND mt.name = 'calexp'
      WHERE m.data_id = i.id
  )
GROUP BY x.day_obs, x.physical_filter
ORDER BY x.day_obs, x.physical_filter
