-- Of how many datasets of each run and type is it known what made them, from what and with which software?
-- Row key: run, dataset_type.
-- Runs without tasks hold what was ingested: nothing made it here, and n_unexplained is 0.
-- Columns:
--   run                 text      RUN collection
--   dataset_type        text      Type of dataset
--   n_tasks             integer   Tasks that write to the run
--   n_datasets          integer   Datasets
--   n_with_quantum      integer   Datasets of which the quantum that made them is known
--   n_with_inputs       integer   Datasets whose quantum has inputs on record
--   n_with_environment  integer   Datasets whose quantum has its software on record
--   n_unexplained       integer   Datasets of a run with tasks that lack quantum or software
--   completeness        double    Part of the datasets that is not unexplained, 0 to 1
WITH told AS (
    SELECT d.run_id, d.dataset_type_id,
           CASE WHEN q.id IS NULL THEN 0 ELSE 1 END AS has_quantum,
           CASE WHEN q.environment_id IS NULL THEN 0 ELSE 1 END AS has_environment,
           CASE WHEN EXISTS (SELECT 1 FROM quantum_input AS i WHERE i.quantum_id = q.id)
                THEN 1 ELSE 0 END AS has_inputs,
           (SELECT COUNT(*) FROM task AS k WHERE k.run_id = d.run_id) AS n_tasks
    FROM dataset AS d
    LEFT JOIN quantum_output AS o ON o.dataset_id = d.id
    LEFT JOIN quantum AS q ON q.id = o.quantum_id
)
SELECT c.name AS run,
       t.name AS dataset_type,
       MAX(m.n_tasks) AS n_tasks,
       COUNT(*) AS n_datasets,
       CAST(SUM(m.has_quantum) AS BIGINT) AS n_with_quantum,
       CAST(SUM(m.has_inputs) AS BIGINT) AS n_with_inputs,
       CAST(SUM(m.has_environment) AS BIGINT) AS n_with_environment,
       CAST(SUM(CASE WHEN m.n_tasks > 0 AND m.has_environment = 0 THEN 1 ELSE 0 END) AS BIGINT)
           AS n_unexplained,
       CAST(SUM(CASE WHEN m.n_tasks > 0 AND m.has_environment = 0 THEN 0 ELSE 1 END)
            AS DOUBLE PRECISION) / COUNT(*) AS completeness
FROM told AS m
JOIN collection AS c ON c.id = m.run_id
JOIN dataset_type AS t ON t.id = m.dataset_type_id
GROUP BY c.name, t.name
