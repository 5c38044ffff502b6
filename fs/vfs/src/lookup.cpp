#include "fs/vfs/lookup.hpp"

#include <vector>

#include "walker.hpp"

namespace aril::vfs {
namespace {

size_t slashes_at(std::string_view text) {
  size_t count = text.find_first_not_of('/');
  return count == std::string_view::npos ? text.size() : count;
}

}  // namespace

Result<void> Walker::begin(std::string_view text) {
  if (text.size() >= kPathLimit) return fail(Errno::kNameTooLong);
  if (text.empty() && !has(flags_, LookupFlags::kEmptyPath)) return fail(Errno::kNoEnt);
  text_ = text;
  if (text.starts_with('/')) {
    if (has(flags_, LookupFlags::kBeneath)) return fail(Errno::kXDev);
    place_ = root();
  } else {
    place_ = start_;
  }
  return {};
}

Result<void> Walker::may_search() const {
  if (!place_.inode().is_directory()) return fail(Errno::kNotDir);
  return check_access(place_.inode(), context_.identity, Access::kExecute);
}

Result<void> Walker::walk_to_last() {
  for (;;) {
    size_t slashes = slashes_at(text_);
    text_.remove_prefix(slashes);
    if (text_.empty()) {
      last_kind_ = ParentLookup::Kind::kRoot;
      last_ = {};
      trailing_slash_ = slashes != 0;
      return {};
    }
    ARIL_TRY(may_search());
    std::string_view component = text_.substr(0, text_.find('/'));
    std::string_view rest = text_.substr(component.size());
    bool dot = component == ".";
    bool dot_dot = component == "..";
    if (slashes_at(rest) == rest.size()) {
      last_ = component;
      after_last_ = rest;
      trailing_slash_ = !rest.empty();
      last_kind_ = dot       ? ParentLookup::Kind::kDot
                   : dot_dot ? ParentLookup::Kind::kDotDot
                             : ParentLookup::Kind::kNormal;
      return {};
    }
    text_ = rest;
    if (dot) continue;
    if (dot_dot) {
      ARIL_TRY(step_up());
      continue;
    }
    Path next = ARIL_TRY(lookup_component(context_, place_, component));
    if (next.dentry().is_negative()) return fail(Errno::kNoEnt);
    if (next.inode().is_symlink()) {
      ARIL_TRY(follow(next, rest));
      continue;
    }
    if (has(flags_, LookupFlags::kNoCrossing) && next.mount_ref() != place_.mount_ref())
      return fail(Errno::kXDev);
    if (!next.inode().is_directory()) return fail(Errno::kNotDir);
    place_ = std::move(next);
  }
}

Result<void> Walker::step_up() {
  if (place_ == root()) return {};
  if (has(flags_, LookupFlags::kBeneath) && place_ == start_) return fail(Errno::kXDev);
  Path at = place_;
  while (at.dentry_ref() == at.mount().root()) {
    Path above = context_.mounts.cross_up(at);
    if (!above) return {};
    if (has(flags_, LookupFlags::kNoCrossing)) return fail(Errno::kXDev);
    at = std::move(above);
    if (at == root()) {
      place_ = std::move(at);
      return {};
    }
  }
  RefPtr<Dentry> parent = at.mount().file_system().dentries().parent_of(at.dentry());
  if (!parent) return {};
  Path up(at.mount_ref(), std::move(parent));
  if (up.dentry().is_mount_point()) up = context_.mounts.cross_down(std::move(up));
  place_ = std::move(up);
  return {};
}

Result<Path> Walker::step_special() {
  if (last_kind_ == ParentLookup::Kind::kDotDot) ARIL_TRY(step_up());
  return place_;
}

Result<void> Walker::follow_last(const Path& link) { return follow(link, after_last_); }

Result<void> Walker::follow(const Path& link, std::string_view rest) {
  if (++links_ > kLinkLimit) return fail(Errno::kLoop);
  if (has(flags_, LookupFlags::kNoSymlinks)) return fail(Errno::kLoop);
  if (link.inode().is_magic_link()) {
    if (has(flags_, LookupFlags::kNoMagicLinks)) return fail(Errno::kLoop);
    if (has(flags_, LookupFlags::kBeneath | LookupFlags::kInRoot)) return fail(Errno::kXDev);
  }
  LinkTarget target = ARIL_TRY(link.inode().follow());
  if (target.place) {
    if (has(flags_, LookupFlags::kNoCrossing)) return fail(Errno::kXDev);
    place_ = std::move(target.place);
    text_ = rest;
    return {};
  }
  if (target.text.empty()) return fail(Errno::kNoEnt);
  if (target.text.starts_with('/')) {
    if (has(flags_, LookupFlags::kBeneath)) return fail(Errno::kXDev);
    place_ = root();
  }
  // `rest` may point into storage_, so the new text is made before that goes.
  std::string text = std::move(target.text);
  text += rest;
  storage_ = std::move(text);
  text_ = storage_;
  return {};
}

namespace {

/// The cached dentry of this name, if it may be used; null when the file system must be asked.
Result<RefPtr<Dentry>> find_cached(const Path& parent, std::string_view name) {
  FileSystem& file_system = parent.mount().file_system();
  RefPtr<Dentry> dentry = file_system.dentries().find(parent.dentry(), name);
  if (!dentry || !file_system.revalidates_names() || dentry->is_mount_point()) return dentry;
  if (!dentry->is_negative() && ARIL_TRY(parent.inode().is_still(name, *dentry->inode())))
    return dentry;
  return RefPtr<Dentry>();
}

}  // namespace

Result<Path> lookup_component(const LookupContext& context, const Path& parent,
                              std::string_view name) {
  if (name.size() > kNameLimit) return fail(Errno::kNameTooLong);
  FileSystem& file_system = parent.mount().file_system();
  Inode& directory = parent.inode();
  RefPtr<Dentry> dentry;
  if (!directory.has_stable_names()) {
    dentry = ARIL_TRY(lookup_locked(parent, name));
  } else if (dentry = ARIL_TRY(find_cached(parent, name)); !dentry) {
    LockGuard guard(file_system.namespace_mutex());
    dentry = ARIL_TRY(lookup_locked(parent, name));
  }
  Path path(parent.mount_ref(), std::move(dentry));
  if (path.dentry().is_mount_point()) return context.mounts.cross_down(std::move(path));
  return path;
}

Result<RefPtr<Dentry>> lookup_locked(const Path& parent, std::string_view name) {
  if (name.size() > kNameLimit) return fail(Errno::kNameTooLong);
  FileSystem& file_system = parent.mount().file_system();
  Inode& directory = parent.inode();
  bool cached = directory.has_stable_names();
  if (cached) {
    if (RefPtr<Dentry> dentry = ARIL_TRY(find_cached(parent, name))) return dentry;
    // What it meant, if it is cached, it means no more.
    if (file_system.revalidates_names()) {
      file_system.dentries().forget(parent.dentry(), name);
      cached = false;
    }
  }
  Result<RefPtr<Inode>> inode = directory.lookup(name);
  if (!inode && inode.error() != Errno::kNoEnt) return fail(inode.error());
  if (file_system.revalidates_names() && inode) cached = directory.has_stable_names();
  // A removed directory gets no more entries: they would outlive it in the cache.
  return file_system.dentries().add(parent.dentry(), name, inode ? std::move(*inode) : nullptr,
                                    cached && !parent.dentry().is_deleted());
}

Result<Path> resolve(const LookupContext& context, const Path& start, std::string_view name,
                     LookupFlags flags) {
  Walker walker(context, start, flags);
  ARIL_TRY(walker.begin(name));
  for (;;) {
    ARIL_TRY(walker.walk_to_last());
    bool directory = walker.trailing_slash() || has(flags, LookupFlags::kDirectory);
    Path path;
    if (walker.last_kind() != ParentLookup::Kind::kNormal) {
      path = ARIL_TRY(walker.step_special());
    } else {
      path = ARIL_TRY(lookup_component(context, walker.place(), walker.last()));
      if (path.dentry().is_negative()) return fail(Errno::kNoEnt);
      if (path.inode().is_symlink() &&
          (has(flags, LookupFlags::kFollow) || walker.trailing_slash())) {
        ARIL_TRY(walker.follow_last(path));
        continue;
      }
      if (has(flags, LookupFlags::kNoCrossing) && path.mount_ref() != walker.place().mount_ref())
        return fail(Errno::kXDev);
    }
    if (directory && !path.inode().is_directory()) return fail(Errno::kNotDir);
    return path;
  }
}

Result<ParentLookup> resolve_parent(const LookupContext& context, const Path& start,
                                    std::string_view name, LookupFlags flags) {
  Walker walker(context, start, flags);
  ARIL_TRY(walker.begin(name));
  ARIL_TRY(walker.walk_to_last());
  return ParentLookup{walker.place(), std::string(walker.last()), walker.trailing_slash(),
                      walker.last_kind()};
}

namespace {

/// Puts "/name" for each step from `dentry` up to `top` (not included) in front of `text`; false
/// when the way up ends elsewhere.
bool prepend_names(DentryCache& cache, RefPtr<Dentry> dentry, const Dentry* top,
                   std::vector<std::string>& names) {
  while (dentry.get() != top) {
    RefPtr<Dentry> parent = cache.parent_of(*dentry);
    if (!parent) return false;
    names.push_back(cache.name_of(*dentry));
    dentry = std::move(parent);
  }
  return true;
}

std::string join_reversed(const std::vector<std::string>& names) {
  if (names.empty()) return "/";
  std::string text;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    text += '/';
    text += *name;
  }
  return text;
}

}  // namespace

std::string absolute_path(MountTree& mounts, const Path& path, const Path& root) {
  std::vector<std::string> names;
  Path at = path;
  bool deleted = at.dentry().is_deleted();
  bool reached = false;
  for (;;) {
    DentryCache& cache = at.mount().file_system().dentries();
    if (at.mount_ref() == root.mount_ref() && cache.is_ancestor(root.dentry(), at.dentry())) {
      reached = prepend_names(cache, at.dentry_ref(), &root.dentry(), names);
      break;
    }
    if (!prepend_names(cache, at.dentry_ref(), at.mount().root().get(), names)) {
      // Not in the tree at all: an unnamed file, which is shown by its own name.
      names.push_back(cache.name_of(at.dentry()));
      return join_reversed(names) + " (deleted)";
    }
    Path above = mounts.cross_up(at);
    if (!above) break;
    at = std::move(above);
  }
  std::string text = join_reversed(names);
  if (!reached && at.dentry().is_root() && at.mount().tree() == nullptr && names.empty())
    text = "/" + at.mount().file_system().dentries().name_of(at.dentry());
  if (deleted) text += " (deleted)";
  return reached ? text : "(unreachable)" + text;
}

std::string path_within_mount(const Path& path, const Path& top) {
  std::vector<std::string> names;
  prepend_names(path.mount().file_system().dentries(), path.dentry_ref(), &top.dentry(), names);
  return join_reversed(names);
}

}  // namespace aril::vfs
