import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { NAME, type TestProxy } from './proxies/reverse-proxies.ts'

/** A program of the user's that works HAProxy by its socket: `perl lb.pl SOCKET VERB SERVER WEIGHT`. */
const PROGRAM = `
use IO::Socket::UNIX;
my ($socket, $verb, $name, $weight) = @ARGV;
sub ask {
  my $connection = IO::Socket::UNIX->new(Peer => $socket) or exit 4;
  print $connection "$_[0]\\n";
  local $/;
  return <$connection>;
}
sub set {
  my $response = ask("set server ${NAME}/$name $_[0]");
  print $response =~ /\\S/ ? $response : "$_[0] is set\\n";
  exit($response =~ /\\S/ ? 3 : 0);
}
sub field {
  my ($heading, @lines) = split /\\n/, ask("show stat ${NAME} 4 -1");
  $heading =~ s/^# //;
  my @columns = split /,/, $heading;
  for (@lines) {
    my %row;
    @row{@columns} = split /,/;
    return $row{$_[0]} if $row{svname} eq $name;
  }
  exit 2;
}
set('state drain') if $verb eq 'take-out';
set('state ready') if $verb eq 'put-in';
set("weight $weight") if $verb eq 'weight';
exit(field('status') =~ /^UP/ ? 0 : 1) if $verb eq 'check';
exit(field('scur') eq '0' ? 0 : 1) if $verb eq 'drained';
exit 5;
`

/** `proxy.commands` for this HAProxy. */
export async function runtimeCommands({ folder }: TestProxy): Promise<Record<string, string[]>> {
  const program = join(folder, 'lb.pl')
  await writeFile(program, PROGRAM)
  const command = (verb: string, ...more: string[]) => [
    ...['perl', program, join(folder, 's'), verb, '{{host}}-{{slot}}'],
    ...more,
  ]
  return {
    'take-out': command('take-out'),
    'put-in': command('put-in'),
    check: command('check'),
    drained: command('drained'),
    weight: command('weight', '{{ weight }}'),
  }
}
