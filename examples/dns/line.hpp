#pragma once
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/// A line of text for people: printf and stdio would be larger than all of the server. What does
/// not fit is left out.
class Line {
 public:
  Line& operator<<(const char* text) { return append(text, strlen(text)); }
  Line& operator<<(unsigned number) {
    char digits[10];
    size_t at = sizeof digits;
    do {
      digits[--at] = char('0' + number % 10);
      number /= 10;
    } while (number != 0);
    return append(digits + at, sizeof digits - at);
  }
  /// Text and newline in one write. If nobody takes it there is nobody to tell.
  void write_to(int fd) {
    bytes_[size_] = '\n';
    if (write(fd, bytes_, size_ + 1) < 0) return;
  }
  const char* text() {
    bytes_[size_] = '\0';
    return bytes_;
  }

 private:
  Line& append(const char* text, size_t count) {
    if (count > sizeof bytes_ - 1 - size_) count = sizeof bytes_ - 1 - size_;
    memcpy(bytes_ + size_, text, count);
    size_ += count;
    return *this;
  }

  char bytes_[512];
  size_t size_ = 0;
};
