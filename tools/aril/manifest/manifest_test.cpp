#include "manifest/manifest.hpp"

#include <gtest/gtest.h>

#include "manifest/values.hpp"
#include "support/error.hpp"

namespace aril::tool {
namespace {

std::string refusal(std::string_view text) {
  try {
    parse_manifest(text, "x.aril", "/dir");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Manifest, ReadsEveryKey) {
  const Manifest manifest = parse_manifest(R"(
program = "/usr/sbin/nginx"
arguments = ["-g", "daemon off;"]
files = ["/etc/nginx", "conf/a.conf:/etc/a.conf", "b:/srv/"]
directories = ["/var/log/nginx/"]
root = "tree"
cwd = "/srv"
user = "33:34"
hostname = "web"
memory = 64
cpus = 2
ports = ["8080:80", "0.0.0.0:53:53/udp"]
net = "tap:t0,ip=10.0.0.2/24,gateway=10.0.0.1"
machine = "q35"
[links]
"/var/log/x" = "/dev/stderr"
[environment]
A = "b c"
N = 3
)",
                                           "x.aril", "/dir");
  EXPECT_EQ(manifest.arguments[1], "daemon off;");
  EXPECT_EQ(manifest.files[0].guest, "/etc/nginx");
  EXPECT_EQ(manifest.files[1].host, "/dir/conf/a.conf");
  EXPECT_EQ(manifest.files[2].guest, "/srv/b");
  EXPECT_EQ(manifest.directories[0], "/var/log/nginx");
  EXPECT_EQ(manifest.root, "/dir/tree");
  EXPECT_EQ(manifest.user->gid, 34u);
  EXPECT_EQ(manifest.memory, 64u << 20);
  EXPECT_EQ(manifest.cpus, 2u);
  EXPECT_EQ(manifest.ports[0], (PortForward{.host = 8080, .guest = 80}));
  EXPECT_EQ(manifest.ports[1].protocol, Protocol::kUdp);
  EXPECT_EQ(manifest.network->gateway, "10.0.0.1");
  EXPECT_EQ(manifest.machine, MachineType::kQ35);
  EXPECT_EQ(manifest.links.at("/var/log/x"), "/dev/stderr");
  EXPECT_EQ(manifest.environment.size(), 2u);
}

TEST(Manifest, ErrorsNameTheLine) {
  EXPECT_EQ(refusal("program = 'a'\n\nprogam = 'b'\n"), "x.aril:3: unknown key 'progam'");
  EXPECT_EQ(refusal("program = 'a'\nmemory = 'much'\n"),
            "x.aril:2: memory: 'much' is not an amount of memory");
  EXPECT_EQ(refusal("program = 1"), "x.aril:1: program must be a string");
  EXPECT_EQ(refusal("program = 'a'\nports = [\n '1:2',\n 'x',\n]"),
            "x.aril:4: ports: 'x' is not a pair of ports");
  EXPECT_EQ(refusal("memory = 64"), "x.aril:1: there is no key 'program'");
  EXPECT_TRUE(refusal("\xcc\xb9").starts_with("x.aril:1: "));
  EXPECT_TRUE(refusal("program = \n").starts_with("x.aril:1: "));
}

TEST(Values, RefuseWhatTheyAreNot) {
  for (const char* bad : {"", "0", "-1M", "1X", "M", "99999999999999999999G"}) {
    EXPECT_THROW(parse_memory(bad), Error) << bad;
  }
  for (const char* bad : {"", "80", "0:80", "80:65536", "a:1", "1.2.3:1:2", "1:2:3:4", ":80:80"}) {
    EXPECT_THROW(parse_port(bad), Error) << bad;
  }
  for (const char* bad : {"bridge", "tap:", "tap:a,ip=1.2.3.4", "tap:a,b", "tap:a,gateway=1.2.3.4",
                          "tap:averyveryverylongname", "tap:a,ip6=fd00::1",
                          "tap:a,gateway6=fd00::1", "tap:a,ip6=1.2.3.4/8"}) {
    EXPECT_THROW(parse_network(bad), Error) << bad;
  }
  for (const char* bad : {"", ":/x", "a:b", "a:/../b"}) {
    EXPECT_THROW(parse_file(bad, "/"), Error) << bad;
  }
  EXPECT_THROW(parse_cpus("0"), Error);
  EXPECT_THROW(parse_variable("=x"), Error);
}

TEST(Values, FilesKeepTheirPlace) {
  EXPECT_EQ(parse_file("/a/b/", "/").host, "/a/b");
  EXPECT_EQ(parse_file("/", "/").guest, "/");
  EXPECT_EQ(parse_file("c", "/a").guest, "/a/c");
}

}  // namespace
}  // namespace aril::tool
