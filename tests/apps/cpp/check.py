from application import application


@application("g++-12", "OpenMP loops and tasks on 4 threads, coroutines, futures with exceptions, condition "
             "variables, regular expressions; its output is Linux's", packages=["g++"], tier="essential")
def check(cpp):
    cpp.compile("work", "g++", "-std=c++20", "-O2", "-fopenmp", "-o", "work", "work.cpp")
    cpp.same_as_linux("./work")
