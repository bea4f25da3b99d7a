-- Which exposures did the observers reject, and were they processed all the same?
-- Asked by: quality control
-- Reads: whole tables
SELECT x.instrument, x.id AS exposure, x.physical_filter,
       SUM(CASE WHEN o.dataset_id IS NULL THEN 0 ELSE 1 END) AS n_products
FROM exposure AS x
LEFT JOIN data_id AS i ON i.instrument = x.instrument AND i.exposure = x.id
LEFT JOIN dataset AS d ON d.data_id = i.id
LEFT JOIN quantum_output AS o ON o.dataset_id = d.id
WHERE x.quality = 'rejected'
GROUP BY x.instrument, x.id, x.physical_filter
ORDER BY x.instrument, x.id
