#pragma once
#include <string>
#include <string_view>

#include "fs/vfs/lookup.hpp"

namespace aril::vfs {

/// One path resolution under way [path_resolution(7)]: `place()` is a directory that the text so
/// far led to, and the rest of the text is still to be walked. Symbolic links are replaced by their
/// text in front of that rest.
class Walker {
 public:
  Walker(const LookupContext& context, const Path& start, LookupFlags flags)
      : context_(context), flags_(flags), start_(start) {}

  /// Sets out with this text. kNoEnt for "" (without kEmptyPath), kNameTooLong, kXDev.
  Result<void> begin(std::string_view text);

  /// Walks on until one component is left. Its directory may be searched by the caller's identity.
  Result<void> walk_to_last();

  /// After walk_to_last().
  [[nodiscard]] ParentLookup::Kind last_kind() const { return last_kind_; }
  [[nodiscard]] std::string_view last() const { return last_; }
  [[nodiscard]] bool trailing_slash() const { return trailing_slash_; }
  [[nodiscard]] const Path& place() const { return place_; }
  /// The place of a last component "", "." or "..".
  Result<Path> step_special();

  /// `link`, the last component, is a symbolic link to be followed: its text is what remains now.
  /// Call walk_to_last() again.
  Result<void> follow_last(const Path& link);

 private:
  Result<void> follow(const Path& link, std::string_view rest);
  Result<void> step_up();
  Result<void> may_search() const;
  [[nodiscard]] const Path& root() const {
    return has(flags_, LookupFlags::kInRoot) ? start_ : context_.root;
  }

  const LookupContext& context_;
  const LookupFlags flags_;
  const Path& start_;
  Path place_;
  std::string storage_;    // what `text_` points into once a link was followed
  std::string_view text_;  // still to walk
  std::string_view last_;
  std::string_view after_last_;
  ParentLookup::Kind last_kind_ = ParentLookup::Kind::kRoot;
  bool trailing_slash_ = false;
  unsigned links_ = 0;
};

}  // namespace aril::vfs
