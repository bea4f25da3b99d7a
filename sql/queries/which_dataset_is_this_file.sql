-- Which dataset is a file of this path, and what is it?
-- Asked by: someone with a file in hand
-- Reads: by key
-- Parameters:
--   path  text  demo/out/1/calexp/calexp_DemoCam_1_202503100017.fits  Path below the endpoint's root
SELECT d.id AS dataset_id, t.name AS dataset_type, c.name AS run, i.exposure, i.detector
FROM file AS f
JOIN dataset AS d ON d.id = f.dataset_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN collection AS c ON c.id = d.run_id
JOIN data_id AS i ON i.id = d.data_id
WHERE f.path = :path
ORDER BY t.name
