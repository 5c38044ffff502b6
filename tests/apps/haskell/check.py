from application import application


@application("ghc", "threaded runtime: 1,000 green threads with transactional memory, 8 system threads in a "
             "ring, timers, garbage collection; its output is Linux's", packages=["ghc"])
def check(haskell):
    haskell.compile("work", "ghc", "-O1", "-threaded", "-rtsopts", "-package", "stm", "-package",
                    "containers", "-o", "work", "work.hs", timeout=600)
    haskell.same_as_linux("./work", "+RTS", "-N", text="one two three\nfour five\n" * 1000)
