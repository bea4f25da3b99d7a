-- Which dataset does a search through a chain of collections find first?
-- Asked by: pipeline developers who wonder which of two versions is taken
-- Reads: by key
-- Parameters:
--   chain         text     demo/out      CHAINED collection
--   dataset_type  text     calexp        Dataset type
--   instrument    text     DemoCam       Camera
--   exposure      integer  202503100018  Exposure
--   detector      integer  2             Detector
SELECT k.position, r.name AS run, d.id AS dataset_id
FROM collection AS c
JOIN collection_chain AS k ON k.parent_id = c.id
JOIN collection AS r ON r.id = k.child_id AND r.type = 'RUN'
JOIN data_id AS i ON i.instrument = :instrument AND i.exposure = :exposure AND i.detector = :detector
JOIN dataset_type AS t ON t.name = :dataset_type
JOIN dataset AS d ON d.run_id = r.id AND d.dataset_type_id = t.id AND d.data_id = i.id
WHERE c.name = :chain
ORDER BY k.position
LIMIT 1
