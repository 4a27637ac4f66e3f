<?php
// A site that connects with the PHP library that sites run (civicrm-cxn-rpc): see tests/registration.sh.
//
// Each line of standard input is a request: "register", "getlink PAGE" or "unregister". Each line of output is its reply.

use Civi\Cxn\Rpc\CxnStore\ArrayCxnStore;
use Civi\Cxn\Rpc\DefaultCertificateValidator;
use Civi\Cxn\Rpc\RegistrationClient;

[, $autoload, $metadataUrl, $siteUrl, $cxn] = $argv;
require $autoload;
// The library is older than PHP 8.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE);
$meta = json_decode(file_get_contents($metadataUrl), TRUE);
$store = new ArrayCxnStore();
// Without a connection, the library makes one.
if ($cxn !== '') {
  $store->add(json_decode($cxn, TRUE));
}
$client = new RegistrationClient($store, $siteUrl);
// As in a site whose administrator trusts any certificate.
$client->setCertValidator(new DefaultCertificateValidator(NULL, NULL, NULL));
while (($line = fgets(STDIN)) !== FALSE) {
  $words = explode(' ', trim($line));
  $reply = match ($words[0]) {
    'register' => $client->register($meta)[1],
    'getlink' => $client->call($meta, 'Cxn', 'getlink', ['page' => $words[1]]),
    'unregister' => $client->unregister($meta)[1],
  };
  echo json_encode($reply), "\n";
}
