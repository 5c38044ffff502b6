from application import application


@application("wabt", "a C program for wasm32: integer and floating-point arithmetic, memory that grows, a trap; "
             "its output is Linux's", packages=["wabt"])
def check(wabt):
    wabt.compile("work.wasm", "clang-19", "--target=wasm32", "-nostdlib", "-O1", "-Wl,--no-entry",
                 "-o", "work.wasm", "work.c")
    wabt.same_as_linux("wasm-interp", "work.wasm", "--run-all-exports")
