#include "linux/process/message_sink.hpp"

namespace aril::linux_abi {

const char kMessageSinkTag = 0;

MessageSink* as_message_sink(File& file) {
  return static_cast<MessageSink*>(file.facet(&kMessageSinkTag));
}

}  // namespace aril::linux_abi
