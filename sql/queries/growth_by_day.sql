-- How did the archive grow, day by day?
-- Asked by: those who buy disks
-- Reads: whole tables
SELECT g.day_begin_tai_ns, g.n_datasets, g.size_bytes, g.total_bytes
FROM growth AS g
ORDER BY g.day_begin_tai_ns
