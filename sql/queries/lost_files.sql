-- Which files have no available copy, and can they be made again?
-- Asked by: storage administrators
-- Reads: whole tables
SELECT p.dataset_type, p.run, p.path, p.size_bytes,
       CASE WHEN o.quantum_id IS NULL THEN 'no' ELSE 'yes' END AS can_be_made_again
FROM orphan AS p
LEFT JOIN quantum_output AS o ON o.dataset_id = p.dataset_id
WHERE p.kind = 'file without copy'
ORDER BY p.path
