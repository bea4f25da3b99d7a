-- Which run takes how much room, by dataset type?
-- Asked by: those who need room
-- Reads: whole tables
SELECT s.run, s.dataset_type, s.n_datasets, s.n_stored, s.size_bytes
FROM dataset_summary AS s
ORDER BY s.size_bytes DESC, s.run, s.dataset_type
