"""Does the registry stand many writers and readers at once, for as long as one likes?

`python -m tests.endurance --minutes 10 --db sqlite,postgresql,mariadb` lets eight processes write
and eight read on each database in turn, prints what they did and how long it took, and ends with
status 1 when it finds a fault.  `world` is what they share, `writing` and `reading` what they do,
`judging` compares what they were told with what is stored, `telling` prints.
"""
