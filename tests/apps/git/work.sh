set -e
git clone -q /repository /tmp/one
git clone -q --no-local file:///repository /tmp/two
cd /tmp/two
git log --format=%s | while read -r subject; do echo "commit $subject"; done
echo changed >file3
git commit -qam "a change"
git push -q ../one HEAD:refs/heads/changed
git -C ../one merge -q --ff-only changed
git -C ../one show --stat --format=%s
git gc -q
git fsck --no-progress && echo sound
