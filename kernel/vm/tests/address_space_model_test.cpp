#include <array>
#include <map>
#include <random>

#include "vm_fixture.hpp"

// Random operations on an AddressSpace and on the simplest possible model of one, page by page.
namespace aril {
namespace {

constexpr uint64_t kBase = 0x1'0000'0000;
constexpr uint64_t kPages = 48;
constexpr uint64_t kFilePages = 16;

struct ModelPage {
  Protection protection = Protection::kNone;
  enum class Kind : uint8_t { kAnonymous, kPrivateFile, kSharedFile } kind = Kind::kAnonymous;
  uint64_t file_page = 0;
  int own = 0;  ///< its first byte
  bool has_own = false;
};

struct Model {
  std::map<uint64_t, ModelPage> pages;  // by page number from kBase
};

class AddressSpaceModel : public VmTest {
 protected:
  void run(uint64_t seed);
  void check(AddressSpace& space, const Model& model);
  uint64_t pick(uint64_t below) { return random_() % below; }

  void map(AddressSpace& space, Model& model, uint64_t first, uint64_t count);
  void store_byte(AddressSpace& space, Model& model, uint64_t page);
  void move(AddressSpace& space, Model& model, uint64_t first, uint64_t count);

  std::mt19937_64 random_;
  RefPtr<PageCache> file_;
  std::array<int, kFilePages> file_bytes_{};
};

constexpr uint64_t address_of(uint64_t page) { return kBase + page * kPageSize; }

void AddressSpaceModel::map(AddressSpace& space, Model& model, uint64_t first, uint64_t count) {
  ModelPage page{.protection = static_cast<Protection>(pick(8)),
                 .kind = static_cast<ModelPage::Kind>(pick(3))};
  MapRequest request{.address = address_of(first),
                     .length = count * kPageSize,
                     .protection = page.protection,
                     .placement = MapRequest::Placement::kFixed};
  if (page.kind != ModelPage::Kind::kAnonymous) {
    page.file_page = pick(kFilePages);
    request.object = file_;
    request.offset = page.file_page * kPageSize;
    if (page.kind == ModelPage::Kind::kSharedFile) request.sharing = Sharing::kShared;
  }
  ASSERT_EQ(*space.map(request), request.address);
  for (uint64_t i = 0; i < count; ++i, ++page.file_page) model.pages[first + i] = page;
}

void AddressSpaceModel::store_byte(AddressSpace& space, Model& model, uint64_t page) {
  auto value = static_cast<uint8_t>(random_());
  FaultOutcome outcome = store(space, address_of(page), value);
  auto it = model.pages.find(page);
  if (it == model.pages.end()) {
    ASSERT_EQ(outcome, FaultOutcome::kNotMapped);
    return;
  }
  ModelPage& target = it->second;
  if (!has(target.protection, Protection::kWrite)) {
    ASSERT_EQ(outcome, FaultOutcome::kNotPermitted);
  } else if (target.kind != ModelPage::Kind::kAnonymous && target.file_page >= kFilePages) {
    ASSERT_EQ(outcome, FaultOutcome::kBusError);
  } else {
    ASSERT_EQ(outcome, FaultOutcome::kResolved);
    if (target.kind == ModelPage::Kind::kSharedFile) {
      file_bytes_[target.file_page] = value;
    } else {
      target.own = value;
      target.has_own = true;
    }
  }
}

void AddressSpaceModel::move(AddressSpace& space, Model& model, uint64_t first, uint64_t count) {
  uint64_t to = pick(kPages - count);
  uint64_t new_count = 1 + pick(count);
  Result<uint64_t> moved = space.remap(address_of(first), count * kPageSize, new_count * kPageSize,
                                       true, address_of(to));
  if (!moved) return;
  std::vector<ModelPage> pages;
  for (uint64_t i = 0; i < count; ++i) {
    auto it = model.pages.find(first + i);
    ASSERT_NE(it, model.pages.end());
    pages.push_back(it->second);
    model.pages.erase(it);
  }
  for (uint64_t i = 0; i < new_count; ++i) model.pages[to + i] = pages[i];
}

void AddressSpaceModel::check(AddressSpace& space, const Model& model) {
  for (uint64_t page = 0; page < kPages; ++page) {
    int got = load(space, address_of(page));
    auto it = model.pages.find(page);
    if (it == model.pages.end()) {
      ASSERT_EQ(got, -static_cast<int>(FaultOutcome::kNotMapped)) << page;
      continue;
    }
    const ModelPage& expected = it->second;
    bool is_file = expected.kind != ModelPage::Kind::kAnonymous;
    if (expected.protection == Protection::kNone) {
      ASSERT_EQ(got, -static_cast<int>(FaultOutcome::kNotPermitted)) << page;
    } else if (is_file && expected.file_page >= kFilePages) {
      ASSERT_EQ(got, -static_cast<int>(FaultOutcome::kBusError)) << page;
    } else if (is_file && !expected.has_own) {
      ASSERT_EQ(got, file_bytes_[expected.file_page]) << page;
    } else {
      ASSERT_EQ(got, expected.own) << page;
    }
  }
}

void AddressSpaceModel::run(uint64_t seed) {
  random_.seed(seed);
  file_ = *PageCache::create(nullptr, kFilePages * kPageSize, "model");
  file_bytes_.fill(0);
  struct Process {
    RefPtr<AddressSpace> space;
    Model model;
  };
  std::vector<Process> processes;
  processes.push_back({*AddressSpace::create(), {}});
  for (int round = 0; round < 600 && !HasFatalFailure(); ++round) {
    Process& process = processes[pick(processes.size())];
    AddressSpace& space = *process.space;
    Model& model = process.model;
    uint64_t count = 1 + pick(8), first = pick(kPages - count);
    switch (pick(10)) {
      case 0:
      case 1:
        map(space, model, first, count);
        break;
      case 2:
        ASSERT_TRUE(space.unmap(address_of(first), count * kPageSize));
        for (uint64_t i = 0; i < count; ++i) model.pages.erase(first + i);
        break;
      case 3: {
        auto protection = static_cast<Protection>(pick(8));
        bool is_whole = true;
        for (uint64_t i = 0; i < count; ++i) is_whole &= model.pages.contains(first + i);
        ASSERT_EQ(space.protect(address_of(first), count * kPageSize, protection).has_value(),
                  is_whole);
        for (uint64_t i = 0; is_whole && i < count; ++i)
          model.pages[first + i].protection = protection;
        break;
      }
      case 4:
        (void)space.advise(address_of(first), count * kPageSize, AddressSpace::Advice::kDontNeed);
        for (uint64_t i = 0; i < count; ++i) {
          auto it = model.pages.find(first + i);
          if (it == model.pages.end()) continue;
          it->second.own = 0;
          it->second.has_own = false;
        }
        break;
      case 5:
        move(space, model, first, count);
        break;
      case 6:
        if (processes.size() < 4) {
          Result<RefPtr<AddressSpace>> child = space.fork();
          ASSERT_TRUE(child);
          Model copy = model;
          processes.push_back({std::move(*child), std::move(copy)});
        } else {
          processes.erase(processes.begin() + static_cast<long>(pick(processes.size())));
        }
        break;
      default:
        store_byte(space, model, pick(kPages));
        store_byte(space, model, pick(kPages));
        break;
    }
    if (round % 8 == 0) {
      for (Process& each : processes) check(*each.space, each.model);
    }
  }
  file_.reset();
}

TEST_F(AddressSpaceModel, AgreesOnRandomOperations) {
  for (uint64_t seed = 1; seed <= 60 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    run(seed);
  }
}

}  // namespace
}  // namespace aril
