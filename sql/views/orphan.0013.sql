-- What does the registry hold that leads nowhere?
-- Row key: kind, dataset_id, data_id, path, run.
-- Datasets of other repositories have their files there, and those that were removed have none.
-- Data IDs that a run is still to make something of are no orphans.
-- Files on disk that the registry does not know are not here: `skyspine check` finds them.
-- Columns:
--   kind          text               dataset without file, file without copy, data ID without dataset, run without dataset
--   dataset_type  text               Type of the dataset
--   run           text               Its RUN collection
--   dataset_id    uuid               The dataset
--   data_id       integer            Its data ID; key of data_id
--   path          text               The file below its endpoint
--   size_bytes    integer   [byte]   Size of the file
SELECT 'file without copy' AS kind,
       t.name AS dataset_type,
       c.name AS run,
       d.id AS dataset_id,
       d.data_id,
       f.path,
       f.size_bytes
FROM file AS f
JOIN dataset AS d ON d.id = f.dataset_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN collection AS c ON c.id = d.run_id
WHERE NOT EXISTS (SELECT 1 FROM replica AS r WHERE r.file_id = f.id AND r.state = 'available')
UNION ALL
SELECT 'dataset without file', t.name, c.name, d.id, d.data_id, NULL, NULL
FROM dataset AS d
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN collection AS c ON c.id = d.run_id
WHERE NOT EXISTS (SELECT 1 FROM file AS f WHERE f.dataset_id = d.id)
  AND NOT EXISTS (SELECT 1 FROM foreign_dataset AS o WHERE o.dataset_id = d.id)
  AND NOT EXISTS (SELECT 1 FROM removed_dataset AS g WHERE g.dataset_id = d.id)
UNION ALL
SELECT 'data ID without dataset', NULL, NULL, NULL, i.id, NULL, NULL
FROM data_id AS i
WHERE NOT EXISTS (SELECT 1 FROM dataset AS d WHERE d.data_id = i.id)
  AND NOT EXISTS (SELECT 1 FROM quantum AS q WHERE q.data_id = i.id)
  AND NOT EXISTS (SELECT 1 FROM calibration AS a WHERE a.data_id = i.id)
  AND NOT EXISTS (SELECT 1 FROM planned_output AS o WHERE o.data_id = i.id)
UNION ALL
SELECT 'run without dataset', NULL, c.name, NULL, NULL, NULL, NULL
FROM collection AS c
WHERE c.type = 'RUN' AND NOT EXISTS (SELECT 1 FROM dataset AS d WHERE d.run_id = c.id)
