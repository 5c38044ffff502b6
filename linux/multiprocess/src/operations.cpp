#include "operations.hpp"

extern constinit const aril::linux_abi::MultiprocessOperations aril_multiprocess = {
    .clone = &aril::linux_abi::clone_process,
    .wait = &aril::linux_abi::wait_for_children,
    .process_ended = &aril::linux_abi::on_process_end,
    .process_stopped = &aril::linux_abi::on_process_stop,
    .process_continued = &aril::linux_abi::on_process_continue,
};
