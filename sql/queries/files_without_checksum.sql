-- Which files cannot be verified, because nobody computed a checksum?
-- Asked by: storage administrators
-- Reads: whole tables
SELECT t.name AS dataset_type, c.name AS run, COUNT(*) AS n_files
FROM file AS f
JOIN dataset AS d ON d.id = f.dataset_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN collection AS c ON c.id = d.run_id
WHERE f.checksum IS NULL
GROUP BY t.name, c.name
ORDER BY t.name, c.name
