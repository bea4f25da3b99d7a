-- Where do the copies of a dataset's files lie?
-- Asked by: anyone who wants the file itself
-- Reads: by key
-- Parameters:
--   dataset_id  uuid  01958000-0000-7000-8000-000000000005  The dataset
SELECT e.name AS endpoint, e.root, f.component, f.path, f.size_bytes, r.state
FROM file AS f
JOIN replica AS r ON r.file_id = f.id
JOIN endpoint AS e ON e.id = r.endpoint_id
WHERE f.dataset_id = :dataset_id
ORDER BY e.name, f.component
