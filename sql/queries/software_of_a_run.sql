-- Which versions of a package made the datasets of each run?
-- Asked by: quality control, after a bug was found in a library
-- Reads: whole tables
-- Parameters:
--   package  text  astropy  Name of the distribution
SELECT c.name AS run, p.version, e.python, COUNT(DISTINCT o.dataset_id) AS n_datasets
FROM environment_package AS p
JOIN environment AS e ON e.id = p.environment_id
JOIN quantum AS u ON u.environment_id = e.id
JOIN quantum_output AS o ON o.quantum_id = u.id
JOIN task AS k ON k.id = u.task_id
JOIN collection AS c ON c.id = k.run_id
WHERE p.name = :package
GROUP BY c.name, p.version, e.python
ORDER BY c.name, p.version, e.python
