#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "../../../kernel/memory/tests/host_memory.hpp"
#include "base/ninep_protocol.hpp"
#include "kernel/io/devices.hpp"

namespace aril::ninep {

/// A server of one directory of plain files, in memory. `tamper` may change each answer.
class FakeServer final : public MessageDevice {
 public:
  using Bytes = std::vector<std::byte>;

  std::string_view tag() const override { return "fake"; }

  Result<size_t> exchange(std::span<const Segment> message,
                          std::span<const Segment> answer) override {
    Bytes request;
    for (const Segment& segment : message) {
      const std::byte* data = arch::physical_to_virtual(segment.address);
      request.insert(request.end(), data, data + segment.length);
    }
    Bytes reply = serve(request);
    if (tamper) tamper(static_cast<Type>(request[4]), reply);
    size_t at = 0;
    for (const Segment& segment : answer) {
      size_t count = std::min<size_t>(segment.length, reply.size() - at);
      std::copy_n(reply.data() + at, count, arch::physical_to_virtual(segment.address));
      at += count;
    }
    return at;
  }

  std::map<std::string, std::string> files;
  std::function<void(Type, Bytes&)> tamper;
  std::map<uint32_t, std::string> fids;  ///< what each stands for; "" is the directory
  std::string version = "9P2000.L";
  std::map<std::string, uint64_t> numbers;  ///< those that a test fixes
  std::map<std::string, uint32_t> modes;    ///< those that are not 0100644
  /// By file and name.
  std::map<std::pair<std::string, std::string>, std::string> xattrs;
  bool keeps_xattrs = true;

 private:
  std::string& contents_of(uint32_t fid) {
    return xattr_fids.contains(fid) ? xattrs[xattr_fids[fid]] : files[fids.at(fid)];
  }
  std::map<uint32_t, std::pair<std::string, std::string>> xattr_fids;

  Bytes serve(const Bytes& request) {
    Reader in(request);
    in.u32();
    auto type = static_cast<Type>(in.u8());
    uint16_t tag = in.u16();
    Bytes fields(type == Type::kRead ? request.size() + Reader(std::span(request).subspan(19)).u32()
                                     : size_t{9000});
    Writer out(fields);
    uint32_t error = answer(type, in, out);
    if (error != 0) {
      out = Writer(fields);
      out.u32(error);
    }
    uint8_t kind = static_cast<uint8_t>(error != 0 ? Type::kErrorReply : type) + (error ? 0 : 1);
    Bytes reply(kHeaderSize);
    Writer(reply).u32(static_cast<uint32_t>(kHeaderSize + out.size())).u8(kind).u16(tag);
    reply.insert(reply.end(), fields.begin(), fields.begin() + static_cast<long>(out.size()));
    return reply;
  }

  void put_qid(Writer& out, const std::string& name) {
    uint64_t number =
        numbers.contains(name) ? numbers[name] : 100 + std::hash<std::string>{}(name) % 1000;
    out.u8(name.empty() ? Qid::kDirectory : 0).u32(1).u64(number);
  }

  uint32_t answer(Type type, Reader& in, Writer& out) {
    constexpr uint32_t kNoEnt = 2;
    switch (type) {
      case Type::kVersion: {
        uint32_t size = in.u32();
        out.u32(size).text(version);
        return 0;
      }
      case Type::kAttach:
        fids[in.u32()] = "";
        put_qid(out, "");
        return 0;
      case Type::kWalk: {
        std::string from = fids.at(in.u32());
        uint32_t fid = in.u32();
        if (in.u16() == 0) {
          fids[fid] = from;
          out.u16(0);
          return 0;
        }
        std::string name(in.text());
        if (!files.contains(name)) return kNoEnt;
        fids[fid] = name;
        xattr_fids.erase(fid);
        out.u16(1);
        put_qid(out, name);
        return 0;
      }
      case Type::kGetAttributes: {
        std::string name = fids.at(in.u32());
        if (!name.empty() && !files.contains(name)) return kNoEnt;
        out.u64(0x7ff);
        put_qid(out, name);
        uint32_t mode = modes.contains(name) ? modes[name] : 0100644;
        out.u32(name.empty() ? 040755 : mode).u32(0).u32(0).u64(1).u64(0);
        out.u64(name.empty() ? 4096 : files[name].size()).u64(4096).u64(8);
        for (int i = 0; i < 10; ++i) out.u64(7);
        return 0;
      }
      case Type::kOpen:
        put_qid(out, fids.at(in.u32()));
        out.u32(0);
        return 0;
      case Type::kMakeNode: {
        in.u32();
        std::string name(in.text());
        uint32_t mode = in.u32();
        // As QEMU 7.2: no special files.
        if ((mode & 0170000) != 0100000) return 6;
        files[name];
        modes[name] = mode;
        put_qid(out, name);
        return 0;
      }
      case Type::kXattrWalk: {
        std::string name = fids.at(in.u32());
        uint32_t fid = in.u32();
        std::pair key(name, std::string(in.text()));
        if (!xattrs.contains(key)) return 61;  // ENODATA
        fids[fid] = name;
        xattr_fids[fid] = key;
        out.u64(xattrs[key].size());
        return 0;
      }
      case Type::kXattrCreate: {
        uint32_t fid = in.u32();
        if (!keeps_xattrs) return 95;
        xattr_fids[fid] = {fids.at(fid), std::string(in.text())};
        xattrs[xattr_fids[fid]] = "";
        return 0;
      }
      case Type::kUnlinkAt:
        in.u32();
        {
          std::string name(in.text());
          std::erase_if(xattrs, [&](const auto& entry) { return entry.first.first == name; });
          modes.erase(name);
          return files.erase(name) != 0 ? 0 : kNoEnt;
        }
      case Type::kSetAttributes: {
        std::string name = fids.at(in.u32());
        std::string& contents = files[name];
        uint32_t valid = in.u32(), mode = in.u32();
        if ((valid & kSetMode) != 0) modes[name] = 0100000 | (mode & 07777);
        in.skip(8);
        if ((valid & kSetSize) != 0) contents.resize(in.u64());
        return 0;
      }
      case Type::kRead: {
        const std::string& contents = contents_of(in.u32());
        uint64_t offset = std::min<uint64_t>(in.u64(), contents.size());
        uint32_t count =
            static_cast<uint32_t>(std::min<uint64_t>(in.u32(), contents.size() - offset));
        out.u32(count);
        for (uint32_t i = 0; i < count; ++i) out.u8(static_cast<uint8_t>(contents[offset + i]));
        return 0;
      }
      case Type::kWrite: {
        std::string& contents = contents_of(in.u32());
        uint64_t offset = in.u64();
        uint32_t count = in.u32();
        if (contents.size() < offset + count) contents.resize(offset + count);
        for (uint32_t i = 0; i < count; ++i) contents[offset + i] = static_cast<char>(in.u8());
        out.u32(count);
        return 0;
      }
      case Type::kReadDirectory: {
        in.u32();
        uint64_t offset = in.u64(), position = 0;
        Bytes entries(8000);
        Writer list(entries);
        for (const auto& [name, contents] : files) {
          if (position++ < offset) continue;
          put_qid(list, name);
          list.u64(position).u8(8).text(name);
        }
        out.u32(static_cast<uint32_t>(list.size()));
        for (size_t i = 0; i < list.size(); ++i) out.u8(static_cast<uint8_t>(entries[i]));
        return 0;
      }
      case Type::kClunk: {
        uint32_t fid = in.u32();
        fids.erase(fid);
        xattr_fids.erase(fid);
        return 0;
      }
      default:
        return 95;  // EOPNOTSUPP
    }
  }
};

}  // namespace aril::ninep
