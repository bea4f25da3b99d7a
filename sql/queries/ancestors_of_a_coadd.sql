-- From how many datasets of which type did a coadd grow, over all steps?
-- Asked by: authors of a paper, for its reproducibility section
-- Reads: by key
-- Parameters:
--   skymap  text     demo  Tessellation
--   tract   integer  0     Tract
--   patch   integer  2     Patch
--   band    text     r     Band
WITH RECURSIVE ancestor (dataset_id) AS (
    SELECT d.id
    FROM dataset_type AS t
    JOIN dataset AS d ON d.dataset_type_id = t.id
    JOIN data_id AS i ON i.id = d.data_id
    WHERE t.name = 'coadd' AND i.skymap = :skymap AND i.tract = :tract AND i.patch = :patch AND i.band = :band
    UNION
    SELECT q.dataset_id
    FROM ancestor AS a
    JOIN quantum_output AS o ON o.dataset_id = a.dataset_id
    JOIN quantum_input AS q ON q.quantum_id = o.quantum_id
)
SELECT t.name AS dataset_type, COUNT(*) AS n_datasets
FROM ancestor AS a
JOIN dataset AS d ON d.id = a.dataset_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id
GROUP BY t.name
ORDER BY t.name
