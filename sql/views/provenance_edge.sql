-- Which dataset was made from which, by which quantum of which task in which run?
-- Row key: output_id, input_id.
-- Columns:
--   output_id         uuid              Dataset that was made
--   output_type       text              Its type
--   input_id          uuid              Dataset that it was made from
--   input_type        text              Its type
--   input_connection  text              Name of the connection through which the task read it
--   quantum_id        uuid              Quantum that did it
--   task_label        text              Label of its task in the pipeline
--   run               text              RUN collection
SELECT o.dataset_id AS output_id,
       ot.name AS output_type,
       i.dataset_id AS input_id,
       it.name AS input_type,
       i.connection AS input_connection,
       q.id AS quantum_id,
       k.label AS task_label,
       r.name AS run
FROM quantum_output AS o
JOIN quantum AS q ON q.id = o.quantum_id
JOIN task AS k ON k.id = q.task_id
JOIN collection AS r ON r.id = k.run_id
JOIN quantum_input AS i ON i.quantum_id = q.id
JOIN dataset AS od ON od.id = o.dataset_id
JOIN dataset_type AS ot ON ot.id = od.dataset_type_id
JOIN dataset AS inp ON inp.id = i.dataset_id
JOIN dataset_type AS it ON it.id = inp.dataset_type_id
