-- Through which chains is a run seen?
-- Asked by: those who want to remove it
-- Reads: by key
-- Parameters:
--   run  text  DemoCam/raw  RUN collection
WITH RECURSIVE above (id, depth) AS (
    SELECT k.parent_id, 1
    FROM collection AS r
    JOIN collection_chain AS k ON k.child_id = r.id
    WHERE r.name = :run
    UNION
    SELECT k.parent_id, a.depth + 1
    FROM above AS a
    JOIN collection_chain AS k ON k.child_id = a.id
    WHERE a.depth < 100
)
SELECT c.name AS chain, MIN(a.depth) AS depth
FROM above AS a
JOIN collection AS c ON c.id = a.id
GROUP BY c.name
ORDER BY c.name
