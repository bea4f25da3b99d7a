-- What is there of one exposure and detector, in which runs?
-- Asked by: scientists who found something odd in a frame
-- Reads: by key
-- Parameters:
--   instrument  text     DemoCam       Camera
--   exposure    integer  202503100017  Exposure
--   detector    integer  1             Detector
SELECT t.name AS dataset_type, c.name AS run, d.id AS dataset_id
FROM data_id AS i
JOIN dataset AS d ON d.data_id = i.id
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN collection AS c ON c.id = d.run_id
WHERE i.instrument = :instrument AND i.exposure = :exposure AND i.detector = :detector
ORDER BY t.name, c.name
