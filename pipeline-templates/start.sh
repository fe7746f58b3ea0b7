# Defines `crosscloud`, which runs the program and returns its exit status. Expects
# crosscloud_command, crosscloud_package and crosscloud_sha512 to be set, each maybe to nothing.
if [ -z "$crosscloud_command" ]; then
  crosscloud_checkout=$(pwd -P)
  crosscloud_rest=$PATH:
  while [ -n "$crosscloud_rest" ]; do
    crosscloud_folder=${crosscloud_rest%%:*}
    crosscloud_rest=${crosscloud_rest#*:}
    # A repository must not bring the program that deploys it.
    case $crosscloud_folder in
      "$crosscloud_checkout" | "$crosscloud_checkout"/*) continue ;;
      /*) ;;
      *) continue ;;
    esac
    if [ -x "$crosscloud_folder/crosscloud" ] && [ ! -d "$crosscloud_folder/crosscloud" ]; then
      crosscloud_command=$crosscloud_folder/crosscloud
      break
    fi
  done
fi
if [ -z "$crosscloud_command" ]; then
  echo 'error: this job has no crosscloud: use an image that has it, or set `command`, or `package` and `sha512`' >&2
  exit 2
fi
crosscloud() {
  $crosscloud_command "$@"
}
