-- What does a chain of collections search, in which order, and how much is in each?
-- Asked by: users who wonder what they see
-- Reads: by key
-- Parameters:
--   chain  text  demo/out  CHAINED collection
SELECT k.position, r.name AS collection, r.type,
       (SELECT COUNT(*) FROM dataset AS d WHERE d.run_id = r.id) AS n_datasets,
       (SELECT COUNT(*) FROM calibration AS a WHERE a.collection_id = r.id) AS n_validity_ranges
FROM collection AS c
JOIN collection_chain AS k ON k.parent_id = c.id
JOIN collection AS r ON r.id = k.child_id
WHERE c.name = :chain
ORDER BY k.position
