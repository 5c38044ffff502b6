-- Works and prints what came out; the same on every run.
import Control.Concurrent
import Control.Concurrent.STM
import Control.Exception
import Control.Monad
import qualified Data.IORef as IORef
import qualified Data.Map.Strict as Map
import System.IO
import System.Mem (performGC)
import System.Timeout (timeout)

-- A thousand green threads move money between accounts; none is lost.
transfers :: IO Int
transfers = do
  accounts <- forM [1 .. 10] (const (newTVarIO (100 :: Int)))
  done <- newEmptyMVar
  forM_ [0 .. 999] $ \n -> forkIO $ do
    let from = accounts !! (n `mod` 10)
        to = accounts !! (n * 7 `mod` 10)
    atomically $ do
      balance <- readTVar from
      when (balance > 5) $ do
        modifyTVar' from (subtract 5)
        modifyTVar' to (+ 5)
    putMVar done ()
  replicateM_ 1000 (takeMVar done)
  sum <$> atomically (mapM readTVar accounts)

-- Operating-system threads that pass a number round a ring.
ring :: Int -> IO Int
ring rounds = do
  boxes <- replicateM 8 newEmptyMVar
  let pairs = zip boxes (tail boxes ++ [head boxes])
  finished <- newEmptyMVar
  forM_ pairs $ \(from, to) -> forkOS $ do
    let loop = do
          value <- takeMVar from
          if value >= rounds then putMVar finished value else putMVar to (value + 1) >> loop
    loop `catch` \BlockedIndefinitelyOnMVar -> return ()
  putMVar (head boxes) 0
  takeMVar finished

main :: IO ()
main = do
  hSetBuffering stdout LineBuffering
  transfers >>= \total -> putStrLn ("transfers " ++ show total)
  ring 2000 >>= \value -> putStrLn ("ring " ++ show value)
  let table = foldr (\n -> Map.insertWith (+) (n `mod` 1000) n) Map.empty [1 .. 100000 :: Int]
  performGC
  putStrLn ("map " ++ show (Map.size table) ++ " " ++ show (sum (Map.elems table)))
  late <- timeout 50000 (threadDelay 5000000)
  putStrLn ("timeout " ++ show late)
  failed <- try (evaluate (1 `div` (0 :: Int))) :: IO (Either ArithException Int)
  putStrLn ("division " ++ show failed)
  counter <- IORef.newIORef (0 :: Int)
  forM_ [1 .. 100000] $ \n -> IORef.modifyIORef' counter (+ n)
  IORef.readIORef counter >>= print
  interact (unlines . map (unwords . reverse . words) . lines)
