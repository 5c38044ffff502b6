#include "console.hpp"

#include "kernel/log/log.hpp"

namespace aril::platform {
namespace {

[[clang::no_destroy]] constinit SerialPort com1{SerialPort::kCom1};

}  // namespace

SerialPort& control_port() { return com1; }

void start_console() {
  com1.initialize();
  set_console_writer([](std::string_view text) { com1.write_polled(text); });
}

}  // namespace aril::platform
