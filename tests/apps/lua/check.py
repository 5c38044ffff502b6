from application import application


@application("lua5.4", "coroutines, patterns, files, garbage collection; its output is Linux's",
             tier="essential")
def check(lua):
    lua.same_as_linux("lua5.4", "work.lua", text="one two two three three three " * 500)
