-- How many files have only one available copy, by type and place?
-- Asked by: storage administrators, before they take an endpoint down
-- Reads: whole tables
SELECT t.name AS dataset_type, e.name AS endpoint, COUNT(*) AS n_files, SUM(f.size_bytes) AS size_bytes
FROM (
    SELECT file_id, MIN(endpoint_id) AS endpoint_id
    FROM replica
    WHERE state = 'available'
    GROUP BY file_id
    HAVING COUNT(*) = 1
) AS s
JOIN file AS f ON f.id = s.file_id
JOIN endpoint AS e ON e.id = s.endpoint_id
JOIN dataset AS d ON d.id = f.dataset_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id
GROUP BY t.name, e.name
ORDER BY t.name, e.name
