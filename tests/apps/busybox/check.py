from application import application


@application("busybox-static", "its shell and 25 applets in pipes: awk, tar, gzip, find, xargs; its output is Linux's",
             packages=["busybox-static"])
def check(busybox):
    busybox.same_as_linux("busybox", "sh", "work.sh")
